// Runs before the first paint: the stored theme (no flash), and keys pressed before the modules are there.
(() => {
  try {
    const theme = localStorage.getItem("hoshina:theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (error) {
    console.info("No storage in this browser window: the theme follows the system.", error);
  }
  const early = { keys: [] };
  early.listener = (event) => early.keys.push(event);
  document.addEventListener("keydown", early.listener);
  window.hoshinaEarly = early;
})();

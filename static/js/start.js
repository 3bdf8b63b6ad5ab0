// Runs before the first paint: sets the stored theme, and records keys pressed before the modules are loaded.
(() => {
  try {
    const theme = localStorage.getItem("hoshina:theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (error) {
    console.info("Storage is not available. The theme follows the system.", error);
  }
  const early = { keys: [] };
  early.listener = (event) => early.keys.push(event);
  document.addEventListener("keydown", early.listener);
  window.hoshinaEarly = early;
})();

// The script of every page: theme, menus, the dialog, messages for failed requests, and focus after swaps.
import { setBanner } from "./banner.js";
import "./commands.js";
import { recall, remember } from "./store.js";
import { isByPerson } from "./swaps.js";
import { localTimes } from "./times.js";
import { toast, watchToasts } from "./toast.js";

const THEMES = ["system", "dark", "light"];

function storedTheme() {
  try {
    const theme = localStorage.getItem("hoshina:theme");
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return recall("theme-here", "system");
  }
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("hoshina:theme", theme);
  } catch {
    remember("theme-here", theme);
  }
  showTheme(theme);
}

function showTheme(theme) {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  const title = `Theme: ${theme}`;
  button.title = title;
  button.querySelector("span").textContent = title;
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu-details][open]")) {
    if (menu !== except) menu.open = false;
  }
  if (except?.closest(".nav")) return; // the groups of pages are inside the menu of the button
  for (const button of document.querySelectorAll('[data-menu][aria-expanded="true"]')) {
    if (button !== except) button.setAttribute("aria-expanded", "false");
  }
}

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-theme-toggle]");
  if (toggle) setTheme(THEMES[(THEMES.indexOf(storedTheme()) + 1) % THEMES.length]);
  const menu = event.target.closest("[data-menu]");
  if (menu) {
    const isOpen = menu.getAttribute("aria-expanded") === "true";
    closeMenus(menu);
    menu.setAttribute("aria-expanded", String(!isOpen));
  } else {
    const group = event.target.closest("details[data-menu-details]");
    if (group || !event.target.closest(".nav")) closeMenus(group);
  }
  const dialog = event.target.closest("dialog[open]");
  if (dialog && (event.target.closest("[data-close-dialog]") || (event.target === dialog && !isInside(dialog, event)))) dialog.close();
});

function isInside(element, event) {
  const box = element.getBoundingClientRect();
  return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
}

// The arrow keys move through an open menu.
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const menu = step && event.target.closest?.("details[data-menu-details][open]");
  if (!menu) return;
  const entries = [...menu.querySelectorAll(".menu-list :is(a, button:not(:disabled))")];
  if (!entries.length) return;
  const at = entries.indexOf(document.activeElement);
  entries[at < 0 ? (step > 0 ? 0 : entries.length - 1) : (at + step + entries.length) % entries.length].focus();
  event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector('[data-menu][aria-expanded="true"], details[data-menu-details][open] > summary');
  if (!open) return;
  closeMenus(null);
  open.focus();
  event.preventDefault();
});

// -- The dialog for fragments -----------------------------------------------------------------------
let opener = null;

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "dialog-body") return;
  const dialog = document.getElementById("dialog");
  opener = event.detail.requestConfig?.elt ?? null;
  if (opener?.dataset?.label) dialog.setAttribute("aria-label", opener.dataset.label);
  if (!dialog.open) dialog.showModal();
  const first = dialog.querySelector("#dialog-body [autofocus]");
  if (first?.matches("input") && matchMedia("(pointer: coarse)").matches) first.blur(); // no keyboard over the dialog
  else first?.focus();
});

document.getElementById("dialog")?.addEventListener("close", () => {
  document.getElementById("dialog-body").replaceChildren();
  if (opener?.isConnected) opener.focus();
  opener = null;
  document.body.dispatchEvent(new CustomEvent("hoshina:dialog-closed"));
});

// -- Requests -------------------------------------------------------------------------------------
// Report a failed request only if a person started it.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status !== 401) return;
  event.preventDefault(); // htmx would leave the page at once, with unsaved work on it
  const here = encodeURIComponent(location.pathname + location.search);
  const address = event.detail.xhr.getResponseHeader("HX-Redirect") || "/";
  setBanner("sign-in", { text: "You were signed out. Your unsaved labels are kept in this browser.", rank: 3, link: { href: `${address}?next=${here}`, text: "Sign in again" } });
});

document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  if (xhr.status === 401 || !isByPerson(event.detail)) return;
  const isPlain = (xhr.getResponseHeader("Content-Type") || "").startsWith("text/plain");
  toast(isPlain && xhr.responseText.length < 400 ? xhr.responseText : `The server refused the request (${xhr.status}). Reload the page and try again.`, "error");
});

document.addEventListener("htmx:sendError", (event) => {
  if (isByPerson(event.detail)) toast("The server cannot be reached. Try again in a moment.", "error");
});

// htmx rejects its promise without a reason when a request is superseded or fails. The events above tell what failed.
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason === undefined) event.preventDefault();
});

document.addEventListener("hoshina:toast", (event) => {
  const { text, kind } = event.detail ?? {};
  if (text) toast(text, kind ?? "");
});

// When a swap removes the focused element, focus the new element with the same id, or let the workbench choose.
let focusedId = null;
document.addEventListener("htmx:beforeSwap", (event) => {
  const active = document.activeElement;
  focusedId = active && active !== document.body && event.detail.target?.contains(active) ? active.id : null;
});
document.addEventListener("htmx:afterSettle", () => {
  if (focusedId === null || (document.activeElement && document.activeElement !== document.body)) return;
  const element = focusedId && document.getElementById(focusedId);
  if (element) element.focus({ preventScroll: true });
  else document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
  focusedId = null;
});

document.addEventListener("htmx:load", (event) => localTimes(event.detail.elt.parentElement ?? document));

showTheme(storedTheme());
watchToasts();
localTimes(document);

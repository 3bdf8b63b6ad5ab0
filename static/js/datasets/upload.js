// Upload the chosen or dropped images in several requests, with progress, then open the new dataset.
import { counted } from "../plural.js";
import { toast } from "../toast.js";

// Django takes at most 100 files in a request.
const FILES = 50;
const BYTES = 64 * 1024 * 1024;

const form = document.getElementById("upload-form");
let unfinished = ""; // the dataset of an upload that failed: the next one continues it, and saves no image twice

function batches(files) {
  const found = [];
  let bytes = Infinity;
  for (const file of files) {
    if (bytes + file.size > BYTES || found.at(-1)?.length >= FILES) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1).push(file);
    bytes += file.size;
  }
  return found;
}

async function send(files, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  for (const file of files) body.append("images", file);
  const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const response = await fetch(form.action, { method: "POST", body, headers });
  const isJson = (response.headers.get("Content-Type") ?? "").startsWith("application/json");
  const answer = isJson ? await response.json() : { error: `The server refused the images (${response.status}). Reload the page and try again.` };
  if (answer.slug) unfinished = answer.slug;
  if (answer.error) throw new Error(answer.error);
  return answer;
}

function showProgress(n, total) {
  const bar = document.getElementById("upload-progress");
  bar.hidden = false;
  bar.value = n / total;
  document.getElementById("upload-status").textContent = `Uploaded ${n} of ${counted(total, "file")}.`;
}

// Open the dataset, or say first which files it does not have.
function finish(answer, problems) {
  unfinished = "";
  if (!problems.length) {
    location.assign(answer.url);
    return;
  }
  const more = problems.length > 3 ? ` And ${counted(problems.length - 3, "more file")}.` : "";
  const status = document.getElementById("upload-status");
  status.textContent = `${problems.slice(0, 3).join(" ")}${more} `;
  if (answer.slug) status.append(Object.assign(document.createElement("a"), { href: answer.url, textContent: "Open the dataset" }));
  document.getElementById("upload-progress").hidden = true;
  form.classList.remove("busy");
}

async function upload(files) {
  if (!files.length || form.classList.contains("busy")) return;
  form.classList.add("busy");
  const parts = batches(files);
  let done = 0;
  let answer = null;
  const problems = [];
  try {
    for (const [at, part] of parts.entries()) {
      showProgress(done, files.length);
      const target = unfinished ? { dataset: unfinished } : { name: form.elements.name.value };
      answer = await send(part, { ...target, is_last: at === parts.length - 1 ? "1" : "0" });
      problems.push(...answer.problems);
      done += part.length;
    }
    finish(answer, problems);
  } catch (error) {
    const reason = error instanceof TypeError ? "The server cannot be reached. Try again in a moment." : error.message;
    const text = unfinished ? `${reason} Choose the same images again to continue.` : reason;
    document.getElementById("upload-status").textContent = text;
    toast(text, "error");
    form.classList.remove("busy");
  }
}

if (form) {
  const input = form.elements.images;
  input.addEventListener("change", () => {
    upload([...input.files]);
    input.value = ""; // the same images may be chosen again
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    form.classList.remove("dropping");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    upload([...event.dataTransfer.files]);
  });
}

// Saves the part of the map in view as a PNG or SVG image for print.
import { addCommands } from "../commands.js";
import { counted } from "../plural.js";
import { toast } from "../toast.js";
import { CanvasPaper, SvgPaper } from "./paper.js";
import { drawPicture, layOut, PIXELS } from "./picture.js";

// `dataset`: the data attributes of the map.
export function initializeSaving({ pane, dataset, camera, raster, points, marks }) {
  const buttons = [...pane.querySelectorAll("[data-map-save]")];
  addCommands(() => buttons.map((button) => ({ name: `Save the map as ${button.textContent}`, kind: "command", words: "download export", run: () => button.click() })));
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      button.closest("details").open = false;
      try {
        await save(button.dataset.mapSave, { dataset, camera, raster, points, marks });
      } catch (error) {
        console.info("The map could not be saved.", error);
        toast("The map could not be saved. Zoom out or make the window smaller, then try again.", "error");
      }
    });
  }
}

async function save(format, { dataset, camera, raster, points, marks }) {
  const [title, legend] = [`Map of ${dataset.title}`, points.legend];
  const layout = layOut({ camera, title, facts: factsOf(dataset, camera), legend });
  const isVector = format === "svg";
  const paper = isVector ? new SvgPaper({ ...layout, title }) : new CanvasPaper({ ...layout, scale: PIXELS });
  await drawPicture(paper, layout, { camera, raster, points, marks, isVector });
  download(await paper.blob(), `${slugOf(dataset.slug)}-${slugOf(dataset.name)}-${today()}.${format}`);
}

function factsOf({ name, about, date }, camera) {
  const part = camera.isFitted ? "" : ", part of the map";
  return [about.startsWith(name) ? about : `${name}: ${about}`, `${counted(camera.n, "image")}${part}. Computed ${date}, saved ${today()}.`];
}

// Return today's date in the person's time zone: 2026-11-30.
function today() {
  const now = new Date();
  return [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((number) => String(number).padStart(2, "0")).join("-");
}

function slugOf(text) {
  return text.normalize("NFC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "map";
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

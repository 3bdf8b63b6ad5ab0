// Return a number with its noun: "1 image", "1,234 images".
export function counted(n, singular, plural = `${singular}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? singular : plural}`;
}

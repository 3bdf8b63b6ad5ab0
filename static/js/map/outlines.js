// Which cluster or gap a place on the map lies in. Outlines are lists of [x, y] in the units of the server's points.

// The smallest outline around {x, y}, or null: where outlines are nested or overlap, the most specific one is meant.
export function smallestAround(clusters, { x, y }) {
  let [found, least] = [null, Infinity];
  for (const one of clusters) {
    if (!isInside(one.outline, x, y)) continue;
    const area = areaOf(one.outline);
    if (area < least) [found, least] = [one, area];
  }
  return found;
}

// By the even-odd rule, as the server selects the images of a region.
function isInside(corners, x, y) {
  let isIn = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
  }
  return isIn;
}

function areaOf(corners) {
  return Math.abs(corners.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = corners[(i + 1) % corners.length];
    return sum + x * nextY - nextX * y;
  }, 0)) / 2;
}

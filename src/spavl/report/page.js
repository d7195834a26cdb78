"use strict";
for (const veil of document.querySelectorAll("button.veil")) {
  const image = veil.querySelector("img");
  veil.addEventListener("click", () => {
    const shown = veil.getAttribute("aria-pressed") !== "true";
    veil.setAttribute("aria-pressed", String(shown));
    veil.setAttribute("aria-label", `${shown ? "Blur" : "Show"} the picture: ${image.alt}`);
  });
}

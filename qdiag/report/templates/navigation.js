// A link to a section opens it, and all it lies in; code can be copied.
const anchors = JSON.parse(document.getElementById("qd-anchors").textContent);

function reveal(target) {
  if (!target) return;
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView({ block: "start" });
  (target.querySelector(":scope > summary") || target).focus({ preventScroll: true });
  target.classList.remove("qd-found");
  void target.offsetWidth; // lets the animation start again
  target.classList.add("qd-found");
}

function revealHash() {
  reveal(document.getElementById(decodeURIComponent(location.hash.slice(1))));
}

// The section about a layer, by the layer's name.
function openSection(name) {
  const hash = "#" + anchors[name];
  if (location.hash === hash) revealHash();
  else location.hash = hash;
}

addEventListener("hashchange", revealHash);
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link && link.hash === location.hash) revealHash(); // no hashchange: the reader has shut it meanwhile
});
if (location.hash) revealHash();

for (const code of document.querySelectorAll(".qd-listing pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "qd-copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  code.after(button);
}

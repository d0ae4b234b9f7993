// Starts the deck, and its menu of sections: the button and the key M open it, Escape closes it.
(() => {
  const menu = document.querySelector("dialog"), button = document.querySelector("nav button");
  const links = [...menu.querySelectorAll("a")];

  const place = (link) => link.hash.slice(2).split("/").map(Number);

  // The entry whose slides are on the wall: the last one that is not further on.
  const here = () => {
    const { h, v } = Reveal.getIndices();
    return links.findLast((link) => place(link)[0] < h || (place(link)[0] === h && place(link)[1] <= v));
  };

  const open = () => {
    menu.showModal();
    const current = here();
    for (const link of links) link.ariaCurrent = link === current ? "true" : null;
    current.focus();
    window.focus();  // the speaker view shows the deck in a frame
  };

  // After a click the space bar belongs to the deck again, not to the button.
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();
    open();
  });
  button.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") event.stopPropagation();
  });

  const move = (event) => {
    const now = links.indexOf(document.activeElement), last = links.length - 1;
    const to = { ArrowDown: Math.min(now + 1, last), ArrowUp: Math.max(now - 1, 0), Home: 0, End: last };
    if (!(event.key in to)) return;
    event.preventDefault();
    links[to[event.key]].focus();
  };
  menu.addEventListener("keydown", (event) => {
    move(event);
    if (event.key.toLowerCase() === "m") menu.close();
  });
  menu.addEventListener("close", () => {
    if (menu.contains(document.activeElement)) document.activeElement.blur();
  });
  menu.addEventListener("click", (event) => {
    const chosen = event.target.closest("a");
    if (event.target === menu || chosen) menu.close();
    if (!chosen) return;
    event.preventDefault();
    document.activeElement.blur();
    Reveal.slide(...place(chosen));
  });

  // In the speaker view the button would stand on each small slide.
  button.hidden = /receiver/.test(location.search);

  // On paper all slides are there: none is hidden from those who have it read to them.
  Reveal.on("pdf-ready", () => {
    for (const slide of document.querySelectorAll("section")) {
      slide.removeAttribute("hidden");
      slide.removeAttribute("aria-hidden");
    }
  });

  Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, transition: "none", backgroundTransition: "none",
    hash: true, slideNumber: "c/t", keyboardCondition: () => !menu.open, controls: false,
    pdfMaxPagesPerSlide: 1, pdfSeparateFragments: false, plugins: [RevealNotes],
  });
  Reveal.addKeyBinding({ keyCode: 77, key: "M", description: "Menu of the sections" }, open);
})();

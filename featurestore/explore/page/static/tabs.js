// The tabs of the right half: one is chosen, one is in the tab order, arrows go from one to the next.

const DEFAULT = "images";

// Returns a function that shows a page by name ("" the first) and returns the name shown.
export function listenToTabs(choose) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const names = tabs.map((tab) => tab.id.replace("tab-", ""));
  const pick = (place) => choose(names[place] === DEFAULT ? "" : names[place]);
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => pick(place));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const next = {
        ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place ? place - 1 : last, Home: 0, End: last,
      }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      pick(next);
      tabs[next].focus();
    });
  });
  return (name) => {
    const shown = names.includes(name) ? name : DEFAULT;
    tabs.forEach((tab, place) => {
      const chosen = names[place] === shown;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    });
    return shown;
  };
}

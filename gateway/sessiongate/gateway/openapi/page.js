"use strict";

// Searches the page as one types, and shows in the contents where one is.
(() => {
  const MOST = 60; // results shown
  const wide = matchMedia("(min-width: 60rem)");
  const input = document.getElementById("search");
  const found = document.getElementById("found");
  const results = document.getElementById("results");
  const contents = document.getElementById("contents");

  /** The parts of the page that can be found: those with an anchor, with title and text. */
  function index() {
    const parts = document.querySelectorAll("main section[id], main tr[id], main li[id]");
    return [...parts].map((part) => {
      const section = part.closest("section");
      const heading = section.querySelector("h2, h3").textContent;
      const own = part.querySelector(part === section ? "h2, h3" : "th, code");
      const isMember = section.id.startsWith("schema-") && part !== section;
      const title = (isMember ? `${heading}.` : "") + own.firstChild.textContent;
      return { anchor: part.id, kind: kind(part, heading), title, text: text(part, own) };
    });
  }

  /** The kind of thing that a part describes; `heading` is that of its section. */
  function kind(part, heading) {
    if (part.matches(".operation")) return part.querySelector(".path").textContent;
    if (part.id.startsWith("schema-")) return part.matches("tr") ? "Member" : "Schema";
    if (part.id.startsWith("header-")) return "Response header";
    if (part.id.startsWith("error-")) return "Error";
    if (part.id.startsWith("code-")) return "Error code";
    if (part.id.startsWith("parameter-")) return "Parameter";
    return part.matches("tr") ? `Parameter: ${heading}` : "Section";
  }

  /** The text of a part without its title, and without the parts that have their own anchor. */
  function text(part, own) {
    const words = [];
    const walker = document.createTreeWalker(part, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) => {
      if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
      const isOther = node === own || node.id || node.matches("details, h4, pre, thead, .path");
      if (isOther) return NodeFilter.FILTER_REJECT;
      return node.matches("br, p, td") ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP;
    });
    while (walker.nextNode()) words.push(walker.currentNode.data ?? " · ");
    return words.join("").replace(/^[ ·]+/, "");
  }

  /** How well an entry matches all terms: lower is better, Infinity if it does not. */
  function rank(entry, terms) {
    const title = entry.title.toLowerCase();
    const all = `${title} ${entry.kind} ${entry.text}`.toLowerCase();
    if (!terms.every((term) => all.includes(term))) return Infinity;
    const rest = `${title} ${entry.kind}`.toLowerCase();
    if (title === terms.join(" ")) return 0;
    if (title.startsWith(terms[0])) return 1;
    if (title.includes(terms[0])) return 2;
    return terms.every((term) => rest.includes(term)) ? 3 : 4;
  }

  let entries;

  function search() {
    const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    entries ??= index();
    const ranked = terms.length === 0 ? [] : entries
      .map((entry) => ({ entry, at: rank(entry, terms) }))
      .filter(({ at }) => at < Infinity)
      .sort((one, other) => one.at - other.at);
    results.replaceChildren(...ranked.slice(0, MOST).map(({ entry }) => result(entry, terms)));
    results.hidden = ranked.length === 0;
    contents.hidden = terms.length > 0;
    found.textContent = terms.length === 0 ? "" : count(ranked.length);
  }

  function count(number) {
    if (number === 0) return "Nothing found. Try fewer or shorter words.";
    if (number > MOST) return `${number} results, of which these are the first ${MOST}`;
    return number === 1 ? "1 result" : `${number} results`;
  }

  function result(entry, terms) {
    const link = document.createElement("a");
    link.href = `#${entry.anchor}`;
    link.append(line("b", entry.title, terms), line("small", entry.kind, terms));
    if (entry.text) link.append(line("span", around(entry.text, terms), terms));
    const item = document.createElement("li");
    item.append(link);
    return item;
  }

  /** The part of a text that begins a little before the first match. */
  function around(whole, terms) {
    const lower = whole.toLowerCase();
    const places = terms.map((term) => lower.indexOf(term)).filter((place) => place >= 0);
    const first = Math.min(...places);
    if (!(first > 60)) return whole.slice(0, 160);
    return `… ${whole.slice(whole.indexOf(" ", first - 40) + 1, first + 120)}`;
  }

  /** An element with a text in which the terms are marked. */
  function line(name, whole, terms) {
    const element = document.createElement(name);
    const pattern = terms.map((term) => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
    for (const [place, part] of whole.split(new RegExp(`(${pattern})`, "i")).entries()) {
      if (place % 2 === 0) {
        element.append(part);
      } else {
        const mark = document.createElement("mark");
        mark.textContent = part;
        element.append(mark);
      }
    }
    return element;
  }

  function clear() {
    input.value = "";
    search();
  }

  function move(step) {
    const links = [...results.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement) + step;
    (at < 0 ? input : links[Math.min(at, links.length - 1)])?.focus();
  }

  function onKey(event) {
    const isTyping = event.target === input;
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const isInSearch = isTyping || results.contains(event.target);
    if (event.key === "/" && !isTyping && isPlain) {
      input.focus();
      input.select();
    } else if (event.key === "Escape" && (input.value !== "" || isTyping)) {
      if (input.value === "") input.blur();
      else if (isInSearch) input.focus();
      clear();
    } else if (event.key === "ArrowDown" && isInSearch) {
      move(1);
    } else if (event.key === "ArrowUp" && isInSearch && !isTyping) {
      move(-1);
    } else if (event.key === "Enter" && isTyping) {
      results.querySelector("a")?.click();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** On a narrow screen, a choice closes the list that covers the page. */
  function onChoice(event) {
    if (wide.matches || !event.target.closest("a")) return;
    contents.open = false;
    clear();
  }

  /** Mark in the contents the section at the top of the screen. */
  function follow() {
    const links = new Map();
    for (const link of contents.querySelectorAll("a")) links.set(link.hash.slice(1), link);
    let current;
    const observer = new IntersectionObserver(
      () => {
        const sections = [...document.querySelectorAll("main section[id]")];
        const here = sections.findLast(
          ({ id, offsetTop }) => links.has(id) && offsetTop <= scrollY + innerHeight / 4,
        );
        current?.removeAttribute("aria-current");
        current = links.get(here?.id);
        current?.setAttribute("aria-current", "true");
        if (wide.matches) current?.scrollIntoView({ block: "nearest" });
      },
      { rootMargin: "0px 0px -75% 0px" },
    );
    for (const section of document.querySelectorAll("main section[id]")) observer.observe(section);
  }

  input.closest("[role=search]").hidden = false;
  input.addEventListener("input", search);
  document.addEventListener("keydown", onKey);
  contents.closest("nav").addEventListener("click", onChoice);
  const fit = () => {
    contents.open = wide.matches;
  };
  wide.addEventListener("change", fit);
  fit();
  addEventListener("pageshow", search); // browsers keep what was typed
  follow();
})();

/** Parses server-sent events, as the HTML standard defines them. */

export class EventParser {
  /** The id of the last event; a comment of the server may carry one, too. */
  lastId = "";
  /** Milliseconds after which the server wants to be asked again. */
  retry;

  #decoder = new TextDecoder();
  #parts = []; // of a line that is not complete
  #name = "";
  #data = [];
  #afterReturn = false;

  /** Yields `{name, data}` for each event that these bytes complete. */
  *push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    if (text) this.#afterReturn = text.endsWith("\r");
    let start = 0;
    const ends = /\r\n|\n|\r/g;
    for (let end; (end = ends.exec(text)); start = ends.lastIndex) {
      this.#parts.push(text.slice(start, end.index));
      const line = this.#parts.join("");
      this.#parts.length = 0;
      const event = line === "" ? this.#dispatch() : this.#read(line);
      if (event) yield event;
    }
    if (start < text.length) this.#parts.push(text.slice(start));
  }

  #read(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0")) this.lastId = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #dispatch() {
    const event = { name: this.#name || "message", data: this.#data.join("\n") };
    const isEmpty = this.#data.length === 0;
    this.#name = "";
    this.#data.length = 0;
    return isEmpty ? undefined : event;
  }
}

/** Asks for credentials on the page, when the gateway wants some. */

import { find } from "./dom.js";
import { visible } from "./text.js";
import { duration } from "./times.js";

const SAID = {
  CREDENTIALS_WRONG: "These credentials are wrong.",
  CREDENTIALS_EXPIRED: "The token has expired: enter a new one.",
};

export class Login {
  #credentials;
  #dialog = find("login");
  #error = find("login-error");
  #forget = find("forget");
  #button = this.#dialog.querySelector("[type=submit]");
  #asking;
  #answer;

  /** `forgotten()` is called once the user has had the credentials forgotten. */
  constructor(credentials, forgotten) {
    this.#credentials = credentials;
    this.#dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    // A browser may close it all the same when Esc is pressed twice.
    this.#dialog.addEventListener("close", () => {
      if (this.#asking && !this.#dialog.open) this.#dialog.showModal();
    });
    this.#forget.addEventListener("click", () => {
      credentials.forget();
      this.#forget.hidden = true;
      forgotten();
    });
  }

  /** Asks for credentials, since those that were used led to this error; resolves with others. */
  renew(error) {
    this.#asking ??= new Promise((resolve) => {
      this.#answer = resolve;
      this.#show(error);
    });
    return this.#asking;
  }

  /** Says that the credentials are not, or no longer, what is wrong. */
  settle() {
    if (this.#dialog.open && !this.#asking) this.#dialog.close();
    this.#forget.hidden = this.#credentials.authorization === undefined;
  }

  #show({ code, message, schemes, retryAfter }) {
    const both = schemes.includes("basic") === schemes.includes("bearer");
    find("login-password").hidden = !both && !schemes.includes("basic");
    find("login-token").hidden = !both && !schemes.includes("bearer");
    find("login-or").hidden = !both;
    let said = SAID[code] ?? (code === "CREDENTIALS_MISSING" ? "" : visible(message));
    if (retryAfter) said = `${said} Try again in ${duration(retryAfter)}.`;
    this.#button.disabled = false;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#say(said);
    const first = this.#given("user") ? "password" : "user";
    this.#field(find("login-password").hidden ? "token" : first).focus();
  }

  #submit() {
    if (!this.#asking) return;
    const [user, password, token] = ["user", "password", "token"].map((name) => this.#given(name));
    if (token && !/^[\x21-\x7e]+$/.test(token.trim()))
      this.#say("A token has no spaces, and only ASCII characters.");
    else if (token) this.#finish(() => this.#credentials.useToken(token.trim()));
    else if (user.includes(":")) this.#say("A user's name has no colon.");
    else if (user) this.#finish(() => this.#credentials.usePassword(user, password));
    else this.#say("Enter a user and a password, or a token.");
  }

  #finish(use) {
    use();
    this.#say("");
    for (const name of ["password", "token"]) this.#field(name).value = "";
    this.#button.disabled = true;
    this.#asking = undefined;
    this.#answer();
  }

  #say(text) {
    this.#error.textContent = text;
    this.#error.hidden = !text;
  }

  #field(name) {
    return this.#dialog.querySelector(`[name=${name}]`);
  }

  #given(name) {
    return this.#field(name).value;
  }
}

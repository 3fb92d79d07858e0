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
      if (this.#asking) this.#dialog.showModal();
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

  /** Says that the credentials were accepted. */
  accept() {
    this.#forget.hidden = this.#credentials.authorization === undefined;
  }

  #show({ code, message, schemes = [], retryAfter }) {
    const both = schemes.includes("basic") === schemes.includes("bearer");
    find("login-password").hidden = !both && !schemes.includes("basic");
    find("login-token").hidden = !both && !schemes.includes("bearer");
    find("login-or").hidden = !both;
    let said = SAID[code] ?? (code === "CREDENTIALS_MISSING" ? "" : visible(message));
    if (retryAfter) said = `${said} Try again in ${duration(retryAfter)}.`;
    this.#error.textContent = said;
    this.#error.hidden = !said;
    for (const name of ["password", "token"]) this.#dialog.querySelector(`[name=${name}]`).value = "";
    if (!this.#dialog.open) this.#dialog.showModal();
    const user = this.#dialog.querySelector("[name=user]");
    const first = user.value ? "[name=password]" : "[name=user]";
    this.#dialog.querySelector(find("login-password").hidden ? "[name=token]" : first).focus();
  }

  #submit() {
    const given = (name) => this.#dialog.querySelector(`[name=${name}]`).value;
    const token = given("token").trim();
    if (token && !/^[\x21-\x7e]+$/.test(token)) this.#refuse("A token has no spaces and only ASCII characters.");
    else if (token) this.#finish(() => this.#credentials.useToken(token));
    else if (given("user").includes(":")) this.#refuse("A name has no colon.");
    else if (given("user")) this.#finish(() => this.#credentials.usePassword(given("user"), given("password")));
    else this.#refuse("Enter a user and a password, or a token.");
  }

  #refuse(text) {
    this.#error.textContent = text;
    this.#error.hidden = false;
  }

  #finish(use) {
    use();
    this.#asking = undefined;
    this.#dialog.close();
    this.#answer();
  }
}

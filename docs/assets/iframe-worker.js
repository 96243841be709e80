// A browser starts no worker for a page that is opened as a file, and the search wants one. Here a hidden
// frame plays the worker: it loads the same script, and messages are passed in both directions. As between a
// page and its worker, each side gets a copy of its own, and gets it later.
if (location.protocol === "file:") {
  const deliver = (side, target, data) => {
    const copy = side.structuredClone(data);
    setTimeout(() => target.dispatchEvent(new side.MessageEvent("message", { data: copy })));
  };

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = this.onerror = this.onmessageerror = null;
      this.addEventListener("message", (event) => this.onmessage?.(event));
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.importScripts = () => {};
      inside.postMessage = (data) => deliver(window, this, data);
      const script = inside.document.createElement("script");
      script.src = url;
      script.onload = () => {
        const early = this.waiting;
        this.waiting = null;
        early.forEach((data) => this.postMessage(data));
      };
      script.onerror = (event) => this.onerror?.(event);
      inside.document.head.append(script);
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else if (this.frame) deliver(this.frame.contentWindow, this.frame.contentWindow, data);
    }

    terminate() {
      this.frame?.remove();
      this.frame = null;
    }
  };
}

// Opened from a file, a browser refuses to start a worker, and the search needs one. Here a hidden frame
// plays the worker: it loads the same script and passes messages in both directions.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = this.onerror = null;
      this.waiting = [];
      const frame = (this.frame = document.createElement("iframe"));
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><title>Search</title>";
      frame.addEventListener("load", () => this.start(String(url)), { once: true });
      document.body.appendChild(frame);
    }

    start(url) {
      if (!this.frame) return;
      const inner = this.frame.contentWindow;
      inner.importScripts = () => {};
      inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const script = inner.document.createElement("script");
      script.src = url;
      script.onload = () => this.waiting.splice(0).forEach((data) => this.deliver(data));
      inner.document.head.appendChild(script);
      this.inner = inner;
      this.script = script;
    }

    deliver(data) {
      this.inner.dispatchEvent(new MessageEvent("message", { data }));
    }

    postMessage(data) {
      if (this.waiting && !(this.script && this.ready)) {
        if (!this.script) return void this.waiting.push(data);
      }
      this.deliver(data);
    }

    terminate() {
      if (this.frame) this.frame.remove();
      this.frame = null;
    }
  };
}

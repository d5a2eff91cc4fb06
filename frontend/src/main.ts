import "./styles/main.css";
import htmx from "htmx.org";
import { attachAll, detachAll } from "./attach";

// A strict content security policy: nothing from a response may become code, and no style element is injected.
Object.assign(htmx.config, {
  allowEval: false,
  allowScriptTags: false,
  includeIndicatorStyles: false,
  selfRequestsOnly: true,
  historyCacheSize: 0, // pages may show secrets once; never keep them in localStorage
  defaultSettleDelay: 0, // what is on the page already listens: a key pressed in between would be lost
});

htmx.onLoad((element) => attachAll(element as HTMLElement));
document.addEventListener("htmx:beforeCleanupElement", (event) => detachAll(event.target as HTMLElement));

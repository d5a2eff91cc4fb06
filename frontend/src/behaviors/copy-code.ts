import { attachAll, type Behavior } from "../attach";

/** On rendered Markdown: gives each block of code a button that copies it, named by `data-copy` and `data-copied`. */
const copyCode: Behavior = (prose) => {
  for (const block of prose.querySelectorAll("pre")) {
    const frame = document.createElement("div");
    frame.className = "code-frame";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-button";
    button.dataset.behavior = "copy";
    button.dataset.copyWithin = ".code-frame";
    button.dataset.copied = prose.dataset.copied ?? "";
    const label = document.createElement("span");
    label.dataset.copyLabel = "";
    label.textContent = prose.dataset.copy ?? "";
    button.append(label);
    block.replaceWith(frame);
    frame.append(block, button);
    attachAll(frame);
  }
};

export default copyCode;

import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vite";

export default defineConfig({
  // Relative addresses: the bundle works wherever the operator serves static files from.
  base: "./",
  plugins: [tailwindcss()],
  build: {
    outDir: "../static/dist",
    // Names carry hashes: a portal that is running goes on serving the bundle it started with.
    emptyOutDir: false,
    manifest: "manifest.json",
    // An inlined font or image would be a data: address, which the content security policy does not allow for fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: "src/main.ts" },
  },
});

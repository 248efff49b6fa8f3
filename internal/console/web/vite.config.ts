import react from "@vitejs/plugin-react";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/**
 * Takes the fonts out of the style sheet of Cloudscape, where they are data
 * addresses: as files they are fetched only when a page uses them, and the
 * Content-Security-Policy need not allow font data. Weights that no page uses
 * are left out.
 */
function fontsAsFiles(): Plugin {
  const dir = join(import.meta.dirname, "node_modules", ".fonts");
  return {
    name: "fonts-as-files",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes("global-styles/index.css")) return null;
      mkdirSync(dir, { recursive: true });
      return code.replace(/@font-face \{[^}]*\}/g, (face) => {
        const weight = /font-weight: (\d+)/.exec(face)?.[1];
        if ((weight !== "400" && weight !== "700") || face.includes("italic")) return "";
        return face.replace(/url\('data:font\/woff2;base64,([^']*)'\)/, (_, data: string) => {
          const bytes = Buffer.from(data, "base64");
          const file = join(dir, `open-sans-${weight}-${createHash("sha256").update(bytes).digest("hex").slice(0, 8)}.woff2`);
          writeFileSync(file, bytes);
          return `url('${file}')`;
        });
      });
    },
  };
}

/**
 * Writes a compressed twin beside each text file, so that the server has
 * nothing to compress. The bytes depend on the file alone: the header has no
 * time and no name.
 */
function gzipTwins(): Plugin {
  return {
    name: "gzip-twins",
    apply: "build",
    writeBundle({ dir }) {
      for (const e of readdirSync(dir!, { recursive: true, withFileTypes: true })) {
        if (!e.isFile() || !/\.(js|css|svg|html|md)$/.test(e.name)) continue;
        const file = join(e.parentPath, e.name);
        const bytes = gzipSync(readFileSync(file), { level: 9 });
        bytes[9] = 255; // the operating system, unknown: the same on every machine
        writeFileSync(file + ".gz", bytes);
      }
    },
  };
}

/** The development server gives the API to a running "corbel serve" (CORBEL, by default http://127.0.0.1:8080). */
const server = process.env.CORBEL ?? "http://127.0.0.1:8080";

export default defineConfig(({ command }) => ({
  // Relative addresses: the console works below any path.
  base: command === "build" ? "./" : "/console/",
  plugins: [
    react(),
    fontsAsFiles(),
    gzipTwins(),
    // The server says in the document where the console's root is; here it is always there.
    { name: "base", apply: "serve", transformIndexHtml: (html: string) => html.replace("<head>", '<head><base href="/console/">') },
  ],
  server: {
    host: "127.0.0.1",
    proxy: {
      "^/$": { target: server, changeOrigin: true, headers: { origin: server } },
      "/console/log": { target: server, changeOrigin: true, headers: { origin: server } },
    },
  },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    // One style sheet: one that was not to be had while a chunk was fetched ahead
    // would not be asked for again.
    cssCodeSplit: false,
    license: { fileName: "licenses.md" }, // of what is bundled, which those ask for
    reportCompressedSize: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1500,
  },
}));

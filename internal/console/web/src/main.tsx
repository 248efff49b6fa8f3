import "@cloudscape-design/global-styles/index.css";
import "./main.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { I18nProvider } from "@cloudscape-design/components/i18n";
import messages from "@cloudscape-design/components/i18n/messages/all.en";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router/dom";
import { queries, takeLinkedRegion } from "./api";
import { prefetchWhenIdle, router } from "./routes";
import { applyTheme } from "./theme";

applyTheme();
takeLinkedRegion();
createRoot(document.getElementById("root")!).render(
  <I18nProvider locale="en" messages={[messages]}>
    <QueryClientProvider client={queries}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </I18nProvider>,
);
prefetchWhenIdle();

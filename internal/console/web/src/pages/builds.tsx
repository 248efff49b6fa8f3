import { BuildList } from "../build/list";
import { Page } from "../ui/page";

export default function Builds() {
  return (
    <Page title="Builds">
      <BuildList />
    </Page>
  );
}

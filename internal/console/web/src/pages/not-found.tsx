import Box from "@cloudscape-design/components/box";
import { Link } from "../ui/link";
import { Page } from "../ui/page";

export default function NotFound() {
  return (
    <Page title="There is no such page">
      <Box>
        The address may be mistyped, or what it named is gone. <Link to="/">Go to the start.</Link>
      </Box>
    </Page>
  );
}

package service

import (
	"fmt"
	"strings"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/api/secretsmanager"
	"github.com/corbel-build/corbel/api/ssm"
)

// Support is how far an operation goes.
type Support string

// Full works as at the service but for docs/divergences.md, Partial has gaps
// that its note names, None answers NotImplementedException.
const (
	Full    Support = "full"
	Partial Support = "partial"
	None    Support = "none"
)

// An Operation is a row of the one list of what this server answers.
type Operation struct {
	Name    string
	Support Support
	Note    string
}

// Operations lists CodeBuild's operations, all of them, by subject. A test
// compares the list with the model and with what the methods answer.
var Operations = []Operation{
	{"ImportSourceCredentials", Full, "asks the provider about the token"},
	{"ListSourceCredentials", Full, ""},
	{"DeleteSourceCredentials", Full, ""},

	{"CreateProject", Full, "stores every member; docs/divergences.md says which have no effect yet"},
	{"UpdateProject", Full, ""},
	{"DeleteProject", Full, ""},
	{"BatchGetProjects", Full, ""},
	{"ListProjects", Full, ""},
	{"UpdateProjectVisibility", None, ""},
	{"InvalidateProjectCache", None, ""},
	{"ListSharedProjects", None, ""},
	{"ListCuratedEnvironmentImages", None, ""},

	{"StartBuild", Full, ""},
	{"StopBuild", Full, ""},
	{"RetryBuild", Full, ""},
	{"BatchGetBuilds", Full, ""},
	{"BatchDeleteBuilds", Full, ""},
	{"ListBuilds", Full, ""},
	{"ListBuildsForProject", Full, ""},

	{"CreateWebhook", Full, "buildType BUILD; no runner builds"},
	{"UpdateWebhook", Full, "buildType BUILD; no runner builds"},
	{"DeleteWebhook", Full, ""},

	{"StartBuildBatch", None, ""},
	{"StopBuildBatch", None, ""},
	{"RetryBuildBatch", None, ""},
	{"DeleteBuildBatch", None, ""},
	{"BatchGetBuildBatches", None, ""},
	{"ListBuildBatches", None, ""},
	{"ListBuildBatchesForProject", None, ""},

	{"CreateReportGroup", None, ""},
	{"UpdateReportGroup", None, ""},
	{"DeleteReportGroup", None, ""},
	{"BatchGetReportGroups", None, ""},
	{"ListReportGroups", None, ""},
	{"ListSharedReportGroups", None, ""},
	{"GetReportGroupTrend", None, ""},
	{"BatchGetReports", None, ""},
	{"ListReports", None, ""},
	{"ListReportsForReportGroup", None, ""},
	{"DeleteReport", None, ""},
	{"DescribeTestCases", None, ""},
	{"DescribeCodeCoverages", None, ""},

	{"PutResourcePolicy", None, ""},
	{"GetResourcePolicy", None, ""},
	{"DeleteResourcePolicy", None, ""},

	{"CreateFleet", None, ""},
	{"UpdateFleet", None, ""},
	{"DeleteFleet", None, ""},
	{"BatchGetFleets", None, ""},
	{"ListFleets", None, ""},

	{"StartSandbox", None, ""},
	{"StopSandbox", None, ""},
	{"StartSandboxConnection", None, ""},
	{"BatchGetSandboxes", None, ""},
	{"ListSandboxes", None, ""},
	{"ListSandboxesForProject", None, ""},
	{"StartCommandExecution", None, ""},
	{"BatchGetCommandExecutions", None, ""},
	{"ListCommandExecutionsForSandbox", None, ""},
}

// LogOperations lists the operations of CloudWatch Logs.
var LogOperations = []Operation{
	{"GetLogEvents", Full, ""},
	{"FilterLogEvents", Partial, "filter patterns are words and quoted phrases; patterns of JSON, fields or regular expressions are refused"},
	{"DescribeLogGroups", Full, ""},
	{"DescribeLogStreams", Full, ""},
	{"StartLiveTail", None, ""},
}

// SecretOperations lists the operations of Secrets Manager, and
// ParameterOperations those of Parameter Store. What the services have beside
// them is not in the model.
var (
	SecretOperations = []Operation{
		{"CreateSecret", Full, "no replication"},
		{"PutSecretValue", Full, ""},
		{"UpdateSecret", Full, ""},
		{"GetSecretValue", Full, ""},
		{"DescribeSecret", Full, "no date of the last access"},
		{"ListSecrets", Partial, "by name, ascending"},
		{"DeleteSecret", Full, ""},
	}
	ParameterOperations = []Operation{
		{"PutParameter", Full, "no policies, no tags"},
		{"GetParameter", Full, ""},
		{"GetParameters", Full, ""},
		{"DescribeParameters", Full, ""},
		{"DeleteParameter", Full, ""},
	}
)

// OwnOperations lists Corbel's own operations.
var OwnOperations = []Operation{
	{"DescribeSourceCredentials", Full, "`corbel credentials list`"},
	{"CheckSourceCredentials", Full, "`corbel credentials check`"},
	{"ResolveSourceCredentials", Full, "`corbel credentials resolve`"},
	{"StartOAuth", Full, "`-oauth` names the apps; flow WEB for the console's sessions, DEVICE for every caller"},
	{"PollOAuth", Full, ""},
	{"ListRepositories", Full, ""},

	{"DescribeSession", Full, ""},
	{"DescribeServer", Full, ""},
	{"CheckBuildspec", Full, ""},
	{"ListBuildSummaries", Full, ""},
	{"DescribeBuildStatistics", Full, "at most the 100 projects that were built last"},
	{"ListAccessKeys", Full, "`corbel keys list`"},
	{"CreateAccessKey", Full, "`corbel keys create`"},
	{"DeleteAccessKey", Full, "`corbel keys delete`"},
	{"PutAccessKeyPolicy", Full, "`corbel keys policy`"},
	{"ListAuditRecords", Full, "of the caller's account; `corbel audit list`"},

	{"ListWebhookDeliveries", Full, "`corbel webhook deliveries`"},
	{"RedeliverWebhook", Full, "`corbel webhook redeliver`"},
	{"TestWebhook", Full, "`corbel webhook replay`; with `source` in place of a project, which needs the right for all (`*`), no provider is asked"},
	{"DescribeWebhook", Full, "`corbel webhook who`"},
	{"UpdateWebhookPolling", Full, "`corbel webhook poll`"},
	{"ListPendingApprovals", Full, "`corbel webhook approvals`"},
	{"ApprovePullRequest", Full, "`corbel webhook approve`"},
}

// OperationsDocument writes docs/operations.md.
func OperationsDocument() string {
	var b strings.Builder
	b.WriteString("<!-- Generated from internal/service/operations.go by \"make generate\". Do not edit. -->\n\n# Operations\n\n" +
		"Every operation of the API can be called. One without support answers HTTP 501 with `NotImplementedException` and changes nothing.\n")
	table := func(title, prefix string, m *api.Model, ops []Operation) {
		counts := map[Support]int{}
		for _, o := range ops {
			counts[o.Support]++
		}
		fmt.Fprintf(&b, "\n## %s (`%s`)\n\n%d operations: %d full, %d partial, %d without support.\n\n| Operation | Support | Declared errors | Note |\n|---|---|---|---|\n",
			title, prefix, len(ops), counts[Full], counts[Partial], counts[None])
		for _, o := range ops {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Name, o.Support, strings.Join(m.Operation(o.Name).Errors, ", "), o.Note)
		}
	}
	table("CodeBuild", api.Contract.TargetPrefix, &api.Contract, Operations)
	table("CloudWatch Logs", logs.Contract.TargetPrefix, &logs.Contract, LogOperations)
	table("Secrets Manager", secretsmanager.Contract.TargetPrefix, &secretsmanager.Contract, SecretOperations)
	table("Parameter Store", ssm.Contract.TargetPrefix, &ssm.Contract, ParameterOperations)
	table("Corbel's own", corbel.Contract.TargetPrefix, &corbel.Contract, OwnOperations)
	b.WriteString("\n## STS\n\n`GetCallerIdentity` of the query protocol, version 2011-06-15.\n")
	return b.String()
}

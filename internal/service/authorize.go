package service

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/secret"
)

// Open reports whether an operation needs no grant, as GetCallerIdentity of STS
// needs none: what tells only who the caller is and what the server can do. What
// else DescribeServer tells is for those with a grant.
func Open(service, operation string) bool {
	return service == "corbel" && (operation == "DescribeSession" || operation == "DescribeServer")
}

// Authorize says whether the caller's policy allows an operation with this
// document. service is the prefix of the action, such as codebuild. It looks at
// names alone, so that what there is and what there is not are refused alike.
func (s *Service) Authorize(ctx context.Context, service, operation string, document []byte) error {
	p := access.From(ctx)
	if p.Policy == nil {
		return nil
	}
	var doc map[string]any
	if json.Unmarshal(document, &doc) != nil {
		doc = nil // the operation will say what is wrong with it
	}
	return p.Policy.Decide(p.ARN(), access.Request{
		Action: service + ":" + operation, Resources: s.resources(ctx, service, operation, doc), Context: p.Context(s.Now()),
	})
}

// resources are the ARNs that an operation is about; * for one that is about
// none or about all.
// Source: service authorization reference, "Actions, resources, and condition
// keys" of each service.
func (s *Service) resources(ctx context.Context, service, operation string, doc map[string]any) []string {
	p := access.From(ctx)
	texts := func(member string) []string {
		switch v := doc[member].(type) {
		case string:
			return []string{v}
		case []any:
			var list []string
			for _, x := range v {
				if text, ok := x.(string); ok {
					list = append(list, text)
				}
			}
			return list
		}
		return nil
	}
	each := func(make func(string) string, members ...string) []string {
		var list []string
		for _, m := range members {
			for _, text := range texts(m) {
				list = append(list, make(text))
			}
		}
		if list == nil {
			return []string{"*"}
		}
		return list
	}
	project := func(text string) string {
		if n, ok := name(p, "project", text); ok {
			return resource(p.Scope, "project", n)
		}
		return text // another's ARN, which nobody's policy should allow
	}
	build := func(text string) string {
		n, ok := name(p, "build", text)
		if !ok {
			return text
		}
		of, _, _ := strings.Cut(n, ":")
		return resource(p.Scope, "project", of)
	}
	group := func(text string) string {
		if strings.HasPrefix(text, "arn:") {
			return strings.TrimSuffix(text, ":*") + ":*"
		}
		return "arn:aws:logs:" + p.Region + ":" + p.Account + ":log-group:" + text + ":*"
	}
	secretARN := func(text string) string {
		if found, err := secret.Find(ctx, s.Store, p.Scope, text); err == nil {
			return found.ARN
		}
		if strings.HasPrefix(text, "arn:") {
			return text
		}
		return "arn:aws:secretsmanager:" + p.Region + ":" + p.Account + ":secret:" + text + "-??????"
	}
	parameter := func(text string) string {
		if strings.HasPrefix(text, "arn:") {
			return text
		}
		text, _, _ = strings.Cut(text, ":")
		return parameterARN(p.Scope, text)
	}
	// Only the store knows whose a delivery is. What there is not is asked
	// about like what may not be touched.
	delivery := func(text string) string {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "*"
		}
		d, err := s.Store.Delivery(ctx, id)
		if err != nil || d.Scope != p.Scope {
			return "*"
		}
		return resource(p.Scope, "project", d.Project)
	}
	switch service {
	case "codebuild", "corbel":
		switch operation {
		case "RedeliverWebhook":
			return each(delivery, "deliveryId")
		case "CreateProject", "UpdateProject", "DeleteProject":
			return each(project, "name")
		case "BatchGetProjects":
			return each(project, "names")
		case "StopBuild", "RetryBuild":
			return each(build, "id")
		case "BatchGetBuilds", "BatchDeleteBuilds":
			return each(build, "ids")
		case "UpdateProjectVisibility":
			return each(project, "projectArn")
		default:
			return each(project, "projectName")
		}
	case "logs":
		return each(group, "logGroupName", "logGroupIdentifier", "logGroupIdentifiers")
	case "secretsmanager":
		return each(secretARN, "SecretId", "Name")
	case "ssm":
		return each(parameter, "Name", "Names")
	}
	return []string{"*"}
}

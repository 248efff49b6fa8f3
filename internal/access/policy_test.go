package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fatal is a test of either kind.
type fatal interface {
	Helper()
	Fatalf(string, ...any)
}

func policy(t fatal, statements ...string) *Policy {
	t.Helper()
	p, err := ParsePolicy(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	return p
}

const site = "arn:aws:codebuild:eu-west-1:123456789012:project/site"

func TestPolicy_Decide(t *testing.T) {
	t.Parallel()
	context := map[string][]string{
		"aws:username": {"ci"}, "aws:sourceip": {"192.0.2.7"}, "aws:currenttime": {"2026-11-23T12:00:00Z"}, "aws:requestedregion": {"eu-west-1"}, "aws:securetransport": {"true"}, "aws:epochtime": {"1795435200"},
	}
	for _, c := range []struct {
		statements string
		action     string
		resource   string
		want       string // "" is allowed, else a word of the refusal
	}{
		{`{"Effect":"Allow","Action":"*","Resource":"*"}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"codebuild:*","Resource":"*"}`, "secretsmanager:GetSecretValue", "*", "no identity-based policy allows the secretsmanager:GetSecretValue action"},
		{`{"Effect":"Allow","Action":["codebuild:BatchGet*","codebuild:List*"],"Resource":"*"}`, "codebuild:BatchGetBuilds", site, ""},
		{`{"Effect":"Allow","Action":["codebuild:BatchGet*"],"Resource":"*"}`, "codebuild:ListSourceCredentials", "*", "no identity-based"},
		{`{"Effect":"Allow","Action":"CODEBUILD:startbuild","Resource":"*"}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"codebuild:StartBuil?","Resource":"` + site + `"}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"codebuild:*","Resource":"` + site + `"}`, "codebuild:StartBuild", site + "-evil", "no identity-based"},
		{`{"Effect":"Allow","Action":"codebuild:*","Resource":"arn:aws:codebuild:*:123456789012:project/s*"}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"codebuild:*","Resource":"arn:aws:codebuild:*:project/site"}`, "codebuild:StartBuild", site, "no identity-based"}, // * does not reach over colons
		{`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"codebuild:Import*","Resource":"*"}`, "codebuild:ImportSourceCredentials", "*", "explicit deny"},
		{`{"Effect":"Deny","Action":"codebuild:Import*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}`, "codebuild:ImportSourceCredentials", "*", "explicit deny"},
		{`{"Effect":"Allow","NotAction":"codebuild:*SourceCredentials","Resource":"*"}`, "codebuild:ListSourceCredentials", "*", "no identity-based"},
		{`{"Effect":"Allow","NotAction":"codebuild:*SourceCredentials","Resource":"*"}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","NotResource":"` + site + `"}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:codebuild:eu-west-1:123456789012:project/${aws:username}-*"}`, "codebuild:StartBuild", "arn:aws:codebuild:eu-west-1:123456789012:project/ci-app", ""},
		{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:codebuild:eu-west-1:123456789012:project/${aws:nothing}*"}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.0/24"]}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-23T11:59:59Z"}}}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-24"},"Bool":{"aws:SecureTransport":true}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericGreaterThan":{"aws:EpochTime":1795435199}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":["us-east-1","us-west-2"]}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"x"}}}`, "codebuild:StartBuild", site, "no identity-based"},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalTag/team":"x"}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"aws:PrincipalTag/team":"true"}}}`, "codebuild:StartBuild", site, ""},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:UserName":"c*"}}}`, "codebuild:StartBuild", site, ""},
	} {
		err := policy(t, c.statements).Decide("arn:aws:iam::123456789012:user/ci", Request{c.action, []string{c.resource}, context})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s\nrefuses %s: %v", c.statements, c.action, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "AccessDeniedException: User: arn:aws:iam::123456789012:user/ci is not authorized to perform: "+c.action)):
			t.Errorf("%s\non %s: %v, want a refusal that says %q", c.statements, c.action, err, c.want)
		}
	}
	// Every resource has to be allowed.
	p := policy(t, `{"Effect":"Allow","Action":"*","Resource":"`+site+`"}`)
	if err := p.Decide("p", Request{"codebuild:BatchGetProjects", []string{site, site + "2"}, nil}); err == nil {
		t.Error("one of two resources was enough")
	}
	if err := (*Policy)(nil).Decide("p", Request{"codebuild:StartBuild", []string{site}, nil}); err != nil {
		t.Errorf("without a policy: %v", err)
	}
}

func TestParsePolicy_Refuses(t *testing.T) {
	t.Parallel()
	one := func(statement string) string { return `{"Version":"2012-10-17","Statement":` + statement + `}` }
	for text, words := range map[string]string{
		"": "not a policy", "x": "not a policy", "[]": "not a policy", `{}`: "no Statement", `{"Statement":[]}`: "no Statement", `{"Version":"2020-01-01","Statement":{}}`: "2012-10-17",
		one(`{"Effect":"allow","Action":"*","Resource":"*"}`):                                                        "Allow or Deny",
		one(`{"Effect":"Allow","Resource":"*"}`):                                                                     "either Action",
		one(`{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}`):                                        "either Action",
		one(`{"Effect":"Allow","Action":"*"}`):                                                                       "either Resource",
		one(`{"Effect":"Allow","Action":"StartBuild","Resource":"*"}`):                                               "SERVICE:OPERATION",
		one(`{"Effect":"Allow","Action":"*","Resource":"project/x"}`):                                                "ARN",
		one(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}`):                                        "Principal",
		one(`{"Effect":"Allow","Action":"*","Resource":"*","Effect":"Deny"}`):                                        "twice",
		one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}`):                     "no such operator",
		one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"somewhere"}}}`): "no address",
		one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":{}}}}`):        "not a policy",
		one(`{"Effect":"Allow","Action":"*","Resource":"*"}`) + "x":                                                  "not a policy",
		one(`{"Effect":"Allow","Action":"*","Resource":["` + strings.Repeat("x", MaxPolicy) + `"]}`):                 "is the most",
		strings.Repeat("[", 5000): "not a policy",
	} {
		if _, err := ParsePolicy(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.80s: %v, want an error that says %q", text, err, words)
		}
	}
}

// A Deny is stronger than any Allow, and an Allow more takes nothing away.
func TestPolicy_DenyWins(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{"*", "codebuild:*", "codebuild:Start*", "codebuild:StartBuild", "logs:*"})
	rapid.Check(t, func(rt *rapid.T) {
		var list []string
		for range rapid.IntRange(0, 5).Draw(rt, "statements") {
			list = append(list, fmt.Sprintf(`{"Effect":%q,"Action":%q,"Resource":"*"}`, rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(rt, "effect"), part.Draw(rt, "action")))
		}
		r := Request{"codebuild:StartBuild", []string{site}, nil}
		denied := append(list, `{"Effect":"Deny","Action":"codebuild:StartBuild","Resource":"*"}`)
		if policy(rt, denied...).Decide("p", r) == nil {
			rt.Fatalf("allowed by %s", denied)
		}
		if len(list) == 0 {
			return
		}
		before := policy(rt, list...).Decide("p", r)
		after := policy(rt, append(list, `{"Effect":"Allow","Action":"*","Resource":"*"}`)...).Decide("p", r)
		if before == nil && after != nil {
			rt.Fatalf("an Allow more refuses: %s", list)
		}
	})
}

// A pattern made to be slow comes to an end, which by trying every way it would
// not.
func TestWild_Time(t *testing.T) {
	t.Parallel()
	if wild(strings.Repeat("*a", 1000)+"b", strings.Repeat("a", 5000)) {
		t.Error("it matches")
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["codebuild:*"],"Resource":"*","Condition":{"ForAllValues:StringLikeIfExists":{"aws:username":"${aws:username}*"}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy(text)
		if err == nil {
			_ = p.Decide("p", Request{"codebuild:StartBuild", []string{site}, map[string][]string{"aws:username": {"ci"}}})
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p := policy(b, `{"Effect":"Allow","Action":["codebuild:BatchGet*","codebuild:List*","codebuild:StartBuild"],"Resource":"arn:aws:codebuild:*:*:project/s*"}`, `{"Effect":"Deny","Action":"codebuild:*SourceCredentials","Resource":"*"}`)
	r := Request{"codebuild:StartBuild", []string{site}, Principal{}.Context(time.Now())}
	for b.Loop() {
		if err := p.Decide("p", r); err != nil {
			b.Fatal(err)
		}
	}
}

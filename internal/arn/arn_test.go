package arn_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/corbel-build/corbel/internal/arn"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want arn.ARN
	}{
		{"arn:aws:codebuild:eu-west-1:123456789012:project/site",
			arn.ARN{Partition: "aws", Service: "codebuild", Region: "eu-west-1", Account: "123456789012", Resource: "project/site"}},
		{"arn:aws:codebuild:us-east-1:000000000000:build/site:7d3e5a2c-0d4e-4d43-9c52-1d6f5a1b2c3d",
			arn.ARN{Partition: "aws", Service: "codebuild", Region: "us-east-1", Account: "000000000000", Resource: "build/site:7d3e5a2c-0d4e-4d43-9c52-1d6f5a1b2c3d"}},
		{"arn:aws-cn:iam::123456789012:role/service-role/build",
			arn.ARN{Partition: "aws-cn", Service: "iam", Account: "123456789012", Resource: "role/service-role/build"}},
		{"arn:aws:s3:::bucket/schlüssel mit raum",
			arn.ARN{Partition: "aws", Service: "s3", Resource: "bucket/schlüssel mit raum"}},
		{"arn:aws:iam::aws:policy/AdministratorAccess",
			arn.ARN{Partition: "aws", Service: "iam", Account: "aws", Resource: "policy/AdministratorAccess"}},
	} {
		got, err := arn.Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
		}
		if got.String() != c.in {
			t.Errorf("Parse(%q).String() = %q", c.in, got.String())
		}
	}
}

func TestParse_Refused(t *testing.T) {
	t.Parallel()
	long := "arn:aws:codebuild:eu-west-1:123456789012:project/"
	long += strings.Repeat("x", arn.MaxLen+1-len(long))
	for name, in := range map[string]string{
		"empty":                   "",
		"no ARN":                  "project/site",
		"five parts":              "arn:aws:codebuild:eu-west-1:123456789012",
		"capital ARN":             "ARN:aws:codebuild:eu-west-1:123456789012:project/site",
		"no partition":            "arn::codebuild:eu-west-1:123456789012:project/site",
		"no service":              "arn:aws::eu-west-1:123456789012:project/site",
		"no resource":             "arn:aws:codebuild:eu-west-1:123456789012:",
		"line break at the end":   "arn:aws:codebuild:eu-west-1:123456789012:project/site\n",
		"NUL in the resource":     "arn:aws:codebuild:eu-west-1:123456789012:project/si\x00te",
		"C1 control":              "arn:aws:codebuild:eu-west-1:123456789012:project/si\u0085te",
		"not UTF-8":               "arn:aws:codebuild:eu-west-1:123456789012:project/\xff",
		"space before":            " arn:aws:codebuild:eu-west-1:123456789012:project/site",
		"path in the region":      "arn:aws:codebuild:../../x:123456789012:project/site",
		"space in the account":    "arn:aws:codebuild:eu-west-1:1234 6789012:project/site",
		"wildcard in the service": "arn:aws:*:eu-west-1:123456789012:project/site",
		"one byte too long":       long,
	} {
		if got, err := arn.Parse(in); err == nil || got != (arn.ARN{}) {
			t.Errorf("%s: Parse(%.80q) = %+v, %v; want an error and no ARN", name, in, got, err)
		}
	}
	if _, err := arn.Parse(long[:arn.MaxLen]); err != nil {
		t.Errorf("Parse of %d bytes: %v; that long is allowed", arn.MaxLen, err)
	}
}

func TestParse_ErrorDoesNotRepeatTheText(t *testing.T) {
	t.Parallel()
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	for _, in := range []string{token, "arn:aws:" + token + ":::x", "arn:aws:s3:::" + token + "\x00"} {
		if _, err := arn.Parse(in); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("Parse(%q): error %v; want one without the text", in, err)
		}
	}
}

func TestCodeBuild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ region, want string }{
		{"eu-west-1", "arn:aws:codebuild:eu-west-1:123456789012:token/github"},
		{"cn-north-1", "arn:aws-cn:codebuild:cn-north-1:123456789012:token/github"},
		{"us-gov-west-1", "arn:aws-us-gov:codebuild:us-gov-west-1:123456789012:token/github"},
		{"us-west-2", "arn:aws:codebuild:us-west-2:123456789012:token/github"},
	} {
		if got := arn.CodeBuild(c.region, "123456789012", "token/github").String(); got != c.want {
			t.Errorf("CodeBuild(%q, ...) = %q, want %q", c.region, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		resource, kind, name string
		ok                   bool
	}{
		{"project/site", "project", "site", true},
		{"build/site:7d3e", "build", "site:7d3e", true},
		{"role/service-role/build", "role", "service-role/build", true},
		{"bucket", "", "", false},
		{"/site", "", "", false},
		{"project/", "", "", false},
	} {
		kind, name, ok := arn.ARN{Resource: c.resource}.Split()
		if kind != c.kind || name != c.name || ok != c.ok {
			t.Errorf("Split of %q = %q, %q, %v; want %q, %q, %v", c.resource, kind, name, ok, c.kind, c.name, c.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("arn:aws:codebuild:eu-west-1:123456789012:project/site")
	f.Add("arn:aws:s3:::bucket/a:b:c")
	f.Add("arn:aws:iam::aws:policy/x")
	f.Add("arn:::::")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := arn.Parse(s)
		if err != nil {
			if a != (arn.ARN{}) {
				t.Fatalf("Parse(%q) = %+v with error %v", s, a, err)
			}
			return
		}
		if a.String() != s {
			t.Fatalf("Parse(%q) prints as %q", s, a)
		}
		if len(s) > arn.MaxLen || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			t.Fatalf("Parse(%q) was accepted", s)
		}
	})
}

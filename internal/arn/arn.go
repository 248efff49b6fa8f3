// Package arn reads and prints Amazon Resource Names.
//
// Parse takes a name apart and refuses whatever is not surely one; String
// prints it again, byte for byte as it was. CodeBuild makes the names of
// Corbel's own resources:
//
//	arn.CodeBuild("eu-west-1", "123456789012", "project/site").String()
//	// arn:aws:codebuild:eu-west-1:123456789012:project/site
//
// Equal names are equal texts, so an ARN can be compared with == and used as
// a key. The form is that of the AWS General Reference, "Amazon Resource
// Names (ARNs)".
package arn

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen bounds a name, in bytes. IAM allows ARNs of 2048 characters (API
// reference, arnType); nothing of CodeBuild comes near it.
const MaxLen = 2048

// An ARN is the name of one resource. Region and Account are empty for
// resources that have none (arn:aws:s3:::bucket); the other parts never are.
type ARN struct {
	Partition string // aws, aws-cn, aws-us-gov
	Service   string // the service's prefix: codebuild, iam
	Region    string // eu-west-1
	Account   string // 12 digits; "aws" for what AWS itself owns
	Resource  string // all after the fifth colon, further colons included
}

// Parse reads a name: "arn" and five parts, of at most MaxLen bytes, valid
// UTF-8 without control characters. The resource may hold colons and slashes;
// the other parts are letters, digits and hyphens. An error does not repeat
// the text, which may be a secret that was put in the wrong place.
func Parse(s string) (ARN, error) {
	if len(s) > MaxLen {
		return ARN{}, fmt.Errorf("parse ARN: %d bytes; the limit is %d", len(s), MaxLen)
	}
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return ARN{}, fmt.Errorf("parse ARN: want arn:partition:service:region:account:resource")
	}
	a := ARN{Partition: p[1], Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}
	for _, part := range [...]struct{ name, text string }{
		{"partition", a.Partition}, {"service", a.Service}, {"region", a.Region}, {"account", a.Account},
	} {
		if strings.ContainsFunc(part.text, notInLabel) {
			return ARN{}, fmt.Errorf("parse ARN: the %s has characters other than letters, digits and hyphens", part.name)
		}
	}
	switch {
	case a.Partition == "", a.Service == "", a.Resource == "":
		return ARN{}, fmt.Errorf("parse ARN: partition, service or resource is empty")
	case !utf8.ValidString(a.Resource) || strings.ContainsFunc(a.Resource, unicode.IsControl):
		return ARN{}, fmt.Errorf("parse ARN: the resource has control characters or is not UTF-8")
	}
	return a, nil
}

func notInLabel(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
}

// String prints the name.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Split takes a resource of the form kind/name apart at its first slash. ok is
// false when there is no slash or a side of it is empty.
func (a ARN) Split() (kind, name string, ok bool) {
	kind, name, ok = strings.Cut(a.Resource, "/")
	if !ok || kind == "" || name == "" {
		return "", "", false
	}
	return kind, name, true
}

// CodeBuild is the name of a resource of CodeBuild, in the partition that the
// region belongs to. The resource is kind/name, such as project/site.
func CodeBuild(region, account, resource string) ARN {
	return ARN{Partition: Partition(region), Service: "codebuild", Region: region, Account: account, Resource: resource}
}

// Partition is the partition that a region belongs to. A region that is not
// known to lie elsewhere is in aws.
// Source: AWS General Reference, "Amazon Resource Names (ARNs)".
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

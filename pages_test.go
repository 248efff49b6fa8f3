package corbel_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

// Corbel's client and the AWS CLI cut a listing at the same places, and each
// goes on from the other's token.
func TestPages_ResumeAcrossClients(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	s := serve(t, "-builds", "0")
	var who struct{ Account string }
	if err := json.Unmarshal([]byte(s.must("aws", "sts", "get-caller-identity")), &who); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("p%d", i)
		want = append(want, name)
		s.must(corbel(t), "codebuild", "create-project", "--name", name, "--source", "type=GITHUB,location=https://github.com/octo/app.git",
			"--artifacts", "type=NO_ARTIFACTS", "--environment", "type=LINUX_CONTAINER,image=x,computeType=BUILD_GENERAL1_SMALL", "--service-role", "arn:aws:iam::"+who.Account+":role/x")
	}
	clients := [][]string{{corbel(t), "codebuild"}, {"aws", "codebuild"}}
	for _, size := range []int{1, 2, 3, 7, 9} {
		for start := range clients {
			var got []string
			token := ""
			for i := start; ; i++ {
				c := clients[i%2]
				args := append(slices.Clone(c[1:]), "list-projects", "--max-items", fmt.Sprint(size))
				if token != "" {
					args = append(args, "--starting-token", token)
				}
				var page struct {
					Projects  []string
					NextToken string
				}
				if err := json.Unmarshal([]byte(s.must(c[0], args...)), &page); err != nil {
					t.Fatal(err)
				}
				got = append(got, page.Projects...)
				if token = page.NextToken; token == "" || len(got) > 2*len(want) {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d, %s first: %v, want %v", size, clients[start][0], got, want)
			}
		}
	}
}

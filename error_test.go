package iris

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// constants gives the values of the constants of a type in one of the package's files.
func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
				continue
			}
			for _, e := range v.Values {
				value, err := strconv.Unquote(e.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, typ)
	}
	return values
}

func TestCodesAreComplete(t *testing.T) {
	all := constants(t, "error.go", "Code")
	for _, c := range all {
		row, ok := codes[Code(c)]
		if !ok {
			t.Errorf("%s has no row", c)
			continue
		}
		if row.status < 400 || row.status > 599 || http.StatusText(row.status) == "" {
			t.Errorf("%s has the status %d", c, row.status)
		}
		if row.name == "" {
			t.Errorf("%s has no name", c)
		}
		if strings.ToUpper(c) != c || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
			t.Errorf("%q is not written like a code", c)
		}
	}
	if len(codes) != len(all) {
		t.Errorf("%d rows for %d codes", len(codes), len(all))
	}
}

// What API clients are promised.
func TestStatusOfCodes(t *testing.T) {
	for code, want := range map[Code]int{
		CodeInvalidRequest: 400, CodeUnauthorized: 401, CodeForbidden: 403,
		CodeTeamNotFound: 404, CodeMessageNotFound: 404, CodeNotFound: 404, CodeMethodNotAllowed: 405,
		CodeTimeout: 408, CodeCancelled: 409, CodeConflict: 409, CodePayloadTooLarge: 413, CodeUnsupportedMedia: 415,
		CodeRateLimited: 429, CodeProcess: 500, CodeInternal: 500, CodeQueueFull: 503, CodeShuttingDown: 503,
		"NO_SUCH_CODE": 500, "": 500,
	} {
		if got := code.Status(); got != want {
			t.Errorf("%s has the status %d, want %d", code, got, want)
		}
	}
	passes := Errorf(CodeInternal, "the disk is full")
	passes.Retry = true
	if got := passes.Status(); got != 503 {
		t.Errorf("an internal error that may pass has the status %d", got)
	}
	if !Passes(fmt.Errorf("store: %w", passes)) || Passes(Errorf(CodeInternal, "damaged")) || Passes(errors.New("strange")) || Passes(nil) {
		t.Error("what may pass is known by the error itself, and by nothing else")
	}
	for code, want := range map[Code]string{
		CodeTeamNotFound: "TeamNotFound", CodeForbidden: "Insufficient permissions", CodeRateLimited: "Rate limit exceeded",
		"NO_SUCH_CODE": "InternalError",
	} {
		if got := code.Name(); got != want {
			t.Errorf("%s is called %q, want %q", code, got, want)
		}
	}
}

func TestErrorsAreComparedByCode(t *testing.T) {
	cause := errors.New("connection refused")
	err := fmt.Errorf("ask: %w", Errorf(CodeProcess, "the CLI %s", "died").With("exitCode", 1).Because(cause))
	if !errors.Is(err, &Error{Code: CodeProcess}) {
		t.Error("it is not of its own code")
	}
	if errors.Is(err, &Error{Code: CodeInternal}) {
		t.Error("it is of another code")
	}
	if errors.Is(err, &Error{Code: CodeProcess, Message: "the CLI died"}) {
		t.Error("an error with a message was taken for a code")
	}
	if !errors.Is(err, cause) {
		t.Error("it has lost its cause")
	}
	if got := CodeOf(err); got != CodeProcess {
		t.Errorf("its code is %s", got)
	}
	if got, want := err.Error(), "ask: PROCESS_ERROR: the CLI died: connection refused"; got != want {
		t.Errorf("it reads %q, want %q", got, want)
	}
}

func TestWhatNobodyNamedIsMuteOutside(t *testing.T) {
	secret := errors.New("open /home/me/secret: no such file")
	e := AsError(secret)
	if e.Code != CodeInternal || CodeOf(secret) != CodeInternal {
		t.Errorf("its code is %s", e.Code)
	}
	if !errors.Is(e, secret) {
		t.Error("the log has lost the cause")
	}
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out)+e.Message, "secret") {
		t.Errorf("a caller is told %s", out)
	}
	named := Errorf(CodeNotFound, "no")
	if AsError(fmt.Errorf("read: %w", named)) != named {
		t.Error("a named error is not kept")
	}
}

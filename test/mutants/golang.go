package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// golang is a Go package of this module.
type golang struct {
	folder string
	all    []*together // one for each package whose tests are its own; made when the first mutant is tried
}

// testedIn are packages whose work the tests of others see as well as their own do.
var testedIn = map[string]string{"remediate/run/errand": "remediate/run"}

// testers are the packages whose tests are asked.
func (g *golang) testers() []string {
	if other := testedIn[g.folder]; other != "" {
		return []string{g.folder, other}
	}
	return []string{g.folder}
}

// notIt are files that do not do a package's work: in remediate/windows the machine that the tests are made with.
var notIt = map[string]*regexp.Regexp{"remediate/windows": regexp.MustCompile(`^(memory|rehearse|case|compare)`)}

// patience bounds the tests of one mutant that is compiled by itself; what loops for ever is noticed by it.
const patience = 20 * time.Minute

func (g *golang) points(context.Context) ([]mutant, error) {
	p, err := g.parse()
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, f := range p.files {
		all = append(all, f.found...)
	}
	return all, nil
}

func (g *golang) close() {
	for _, t := range g.all {
		t.close()
	}
}

func (g *golang) parse() (*parsed, error) {
	info, err := build.ImportDir(g.folder, 0)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", g.folder, err)
	}
	leave := notIt[g.folder]
	p := &parsed{folder: g.folder, name: info.Name, set: token.NewFileSet()}
	for _, file := range info.GoFiles {
		path := filepath.Join(g.folder, file)
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(p.set, path, raw, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		w := &walker{raw: raw, files: p.set, pkg: g.folder, file: path}
		for _, d := range tree.Decls {
			w.function = ""
			if f, ok := d.(*ast.FuncDecl); ok {
				w.function = functionName(f)
			}
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.IMPORT || leave != nil && leave.MatchString(file) {
				continue
			}
			ast.Inspect(d, w.visit)
		}
		p.files = append(p.files, &source{path: path, raw: raw, tree: tree, found: name(w.found), nodes: w.nodes})
	}
	return p, nil
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	kind := f.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	if id, ok := kind.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

var opposite = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR,
	token.LAND: token.LOR, token.LOR: token.LAND,
}

// walker collects the mutants of one file.
type walker struct {
	raw      []byte
	files    *token.FileSet
	pkg      string
	file     string
	function string
	found    []mutant
	nodes    []ast.Node // of them
}

func (w *walker) add(n ast.Node, from, to token.Pos, kind, with string) {
	w.nodes = append(w.nodes, n)
	a, b := w.files.Position(from).Offset, w.files.Position(to).Offset
	w.found = append(w.found, mutant{Package: w.pkg, File: filepath.ToSlash(w.file), Function: w.function, Kind: kind, Text: string(w.raw[a:b]), With: with, line: lineAt(w.raw, a), start: a, end: b})
}

func (w *walker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		if sizeOnly(n) {
			return false
		}
		return !sayingOnly(n)
	case *ast.CompositeLit: // &fs.PathError{Op: ...} is words as well
		kind, ok := n.Type.(*ast.SelectorExpr)
		return !ok || kind.Sel.Name != "PathError"
	case *ast.Field:
		return n.Tag == nil
	case *ast.IfStmt:
		text := w.raw[w.files.Position(n.Cond.Pos()).Offset:w.files.Position(n.Cond.End()).Offset]
		w.add(n.Cond, n.Cond.Pos(), n.Cond.End(), "condition negated", "!("+string(text)+")")
	case *ast.BinaryExpr:
		if with, ok := opposite[n.Op]; ok {
			w.add(n, n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), "comparison turned", with.String())
		}
	case *ast.BlockStmt:
		w.leaveOut(n.List)
	case *ast.CaseClause:
		w.leaveOut(n.Body)
	case *ast.CommClause:
		w.leaveOut(n.Body)
	case *ast.ReturnStmt:
		if besideAnError(n) { // nobody looks at what is returned beside an error
			ast.Inspect(n.Results[len(n.Results)-1], w.visit)
			return false
		}
	case *ast.BasicLit:
		w.literal(n)
	case *ast.Ident:
		if with, ok := map[string]string{"true": "false", "false": "true"}[n.Name]; ok {
			w.add(n, n.Pos(), n.End(), "literal changed", with)
		}
	}
	return true
}

func (w *walker) leaveOut(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt, *ast.BranchStmt:
			w.add(s, s.Pos(), s.End(), "statement left out", "{}")
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				w.add(s, s.Pos(), s.End(), "statement left out", "{}")
			}
		}
	}
}

func (w *walker) literal(n *ast.BasicLit) {
	if n.Kind == token.STRING && strings.HasSuffix(w.function, ".Error") { // the words of an error, as those of fmt.Errorf
		return
	}
	switch n.Kind {
	case token.INT:
		w.add(n, n.Pos(), n.End(), "literal changed", "("+n.Value+" + 1)")
	case token.STRING:
		if text, err := strconv.Unquote(n.Value); err == nil && text != "" {
			w.add(n, n.Pos(), n.End(), "literal changed", strconv.Quote(text+"~"))
		}
	}
}

// besideAnError reports whether a return gives up: several results, and the last is err or an error that is made there.
func besideAnError(n *ast.ReturnStmt) bool {
	if len(n.Results) < 2 {
		return false
	}
	switch last := n.Results[len(n.Results)-1].(type) {
	case *ast.Ident:
		return last.Name == "err"
	case *ast.CallExpr:
		return sayingOnly(last)
	}
	return false
}

// sizeOnly: how much room is made beforehand, or how many things a channel holds until they are fetched, is no promise: one more
// changes nothing that anybody sees. How long a slice is at first is one, and is drawn.
func sizeOnly(call *ast.CallExpr) bool {
	name, ok := call.Fun.(*ast.Ident)
	if !ok || name.Name != "make" || len(call.Args) < 2 {
		return false
	}
	if _, isSlice := call.Args[0].(*ast.ArrayType); isSlice {
		length, ok := call.Args[1].(*ast.BasicLit)
		return len(call.Args) == 3 && ok && length.Value == "0"
	}
	return true
}

var loggers = map[string]bool{"Debug": true, "Info": true, "Warn": true, "Error": true, "DebugContext": true, "InfoContext": true, "WarnContext": true, "ErrorContext": true, "log": true}

// sayingOnly: the words of errors, of hints and of the log are not what these mutants are for.
func sayingOnly(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if loggers[s.Sel.Name] && len(call.Args) > 0 { // what a log says is read by people, and by nothing that depends on its words
		return true
	}
	from, _ := s.X.(*ast.Ident)
	return from != nil && (from.Name == "errors" || from.Name == "hint" || from.Name == "fmt" && s.Sel.Name == "Errorf")
}

var (
	failedPart  = regexp.MustCompile(`(?m)^ +--- FAIL: (Test\w+/\S+) `)
	failedTest  = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	runningTest = regexp.MustCompile(`(?m)^\s+(Test\w+|Fuzz\w+)(?:/\S*)? \(`)
	inPanic     = regexp.MustCompile(`(?m)^\S*\.(Test\w+|Fuzz\w+)\(`)
)

func (g *golang) try(ctx context.Context, m mutant, test string) (verdict, error) {
	alone := true
	for i, tester := range g.testers() {
		if i == len(g.all) {
			p, err := g.parse()
			if err != nil {
				return verdict{}, err
			}
			t, err := compile(ctx, p, tester)
			if err != nil {
				return verdict{}, err
			}
			g.all = append(g.all, t)
		}
		v, err := verdict{}, error(nil)
		if _, ok := g.all[i].numbers[m.id]; ok {
			v, err = g.all[i].try(ctx, m, test)
		} else {
			v, err = tryAlone(ctx, m, tester, test)
		}
		if err != nil || v.noticed || v.invalid {
			return v, err
		}
		alone = alone && v.alone
	}
	return verdict{alone: alone}, nil
}

// tryAlone compiles the package anew for one mutant and runs one test or all of a package.
func tryAlone(ctx context.Context, m mutant, folder, test string) (verdict, error) {
	overlay, clean, err := overlayOf(m)
	if err != nil {
		return verdict{}, err
	}
	defer clean()
	args := []string{"test", "-vet=off", "-failfast", "-timeout", patience.String(), "-overlay", overlay}
	if test != "" {
		args = append(args, "-run", "^"+strings.Join(strings.Split(regexp.QuoteMeta(test), "/"), "$/^")+"$")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "./"+folder)...).CombinedOutput()
	if bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")) {
		return verdict{invalid: true}, nil
	}
	return judge(ctx, out, err)
}

// unnamed is what noticed a mutant where the output does not tell.
const unnamed = "(the package)"

// judge reads how a test program ended.
func judge(ctx context.Context, out []byte, err error) (verdict, error) {
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return verdict{}, nil
	case !errors.As(err, &exit) || ctx.Err() != nil:
		return verdict{}, fmt.Errorf("run the tests: %w", errors.Join(err, ctx.Err()))
	case bytes.Contains(out, []byte("panic: test timed out")):
		return verdict{noticed: true, test: "(time) " + first(runningTest, out)}, nil
	}
	name := first(failedPart, out)
	for _, pattern := range []*regexp.Regexp{failedTest, inPanic} {
		if name == "" {
			name = first(pattern, out)
		}
	}
	return verdict{noticed: true, test: cmp.Or(name, unnamed)}, nil
}

func first(pattern *regexp.Regexp, out []byte) string {
	if m := pattern.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// broken is the file's text with the mutant in it.
func broken(m mutant) ([]byte, error) {
	raw, err := os.ReadFile(m.File)
	if err != nil {
		return nil, err
	}
	if m.end > len(raw) || string(raw[m.start:m.end]) != m.Text {
		return nil, fmt.Errorf("%s has changed since it was looked at", m.File)
	}
	return []byte(string(raw[:m.start]) + m.With + string(raw[m.end:])), nil
}

func overlayOf(m mutant) (path string, clean func(), err error) {
	text, err := broken(m)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", nil, err
	}
	clean = func() { _ = os.RemoveAll(dir) }
	here, err := filepath.Abs(m.File)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "mutant.go"), text, 0o600)
	}
	if err == nil {
		var list []byte
		list, err = json.Marshal(map[string]map[string]string{"Replace": {here: filepath.Join(dir, "mutant.go")}})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)
		}
	}
	if err != nil {
		clean()
		return "", nil, err
	}
	return filepath.Join(dir, "overlay.json"), clean, nil
}

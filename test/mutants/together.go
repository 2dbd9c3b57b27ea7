package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// together is the test program of a package with nearly all of its mutants in it, of which a file beside the program
// switches on one: it is compiled once, and tells which tests come by which mutant. What cannot be switched (a constant,
// the last statement of a function) is not in it and is compiled by itself.
type together struct {
	folder  string // of the package whose tests they are
	dir     string // of the program; removed by close
	program string
	numbers map[string]int      // of the mutants in it, by name
	tests   map[string][]string // which come by, the quickest first, by name
	took    map[string]time.Duration
}

// The file that is added to the package. It is switched by files beside the program and not by the environment, because
// tests start it again with an environment of their own.
const switches = `package %s

import (
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantMet              [%d]atomic.Bool
	mutantOn, mutantSeen = func() (int, *os.File) {
		self, _ := os.Executable()
		raw, _ := os.ReadFile(self + ".on")
		on, err := strconv.Atoi(string(raw))
		if err != nil {
			on = -1
		}
		seen, err := os.OpenFile(self+".seen", os.O_WRONLY, 0)
		if err != nil {
			seen = nil
		}
		return on, seen
	}()
)

func mutantIs(n int) bool {
	if mutantSeen != nil && !mutantMet[n].Load() && !mutantMet[n].Swap(true) {
		_, _ = mutantSeen.WriteAt([]byte{1}, int64(n))
	}
	return n == mutantOn
}

func mutantPick[T any](n int, a, b T) T {
	if mutantIs(n) {
		return b
	}
	return a
}
`

func (t *together) close() { _ = os.RemoveAll(t.dir) }

// compile puts the mutants of the parsed files into one program, with the tests of a package. Those at which the compiler stumbles are left out of it.
func compile(ctx context.Context, pkg *parsed, tests string) (*together, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	t := &together{folder: tests, dir: dir, program: filepath.Join(dir, "mutants.test")}
	if err := pkg.check(ctx); err != nil {
		t.close()
		return nil, err
	}
	out := map[string]bool{}
	for range 8 {
		var messages []byte
		if messages, err = t.build(ctx, pkg, out); err == nil {
			break
		}
		if !pkg.stumbled(messages, out) {
			err = fmt.Errorf("build %s with its mutants: %w\n%.2000s", pkg.folder, err, messages)
			break
		}
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *together) build(ctx context.Context, pkg *parsed, without map[string]bool) (messages []byte, err error) {
	t.numbers = map[string]int{}
	replace := map[string]string{}
	for _, f := range pkg.files {
		text := f.switched(pkg, t.numbers, without)
		name := filepath.Join(t.dir, filepath.Base(f.path)) // the compiler names it
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return nil, err
		}
		here, err := filepath.Abs(f.path)
		if err != nil {
			return nil, err
		}
		replace[here] = name
	}
	added := filepath.Join(t.dir, "mutants_switches.go")
	if err := os.WriteFile(added, fmt.Appendf(nil, switches, pkg.name, len(t.numbers)+1), 0o600); err != nil {
		return nil, err
	}
	here, err := filepath.Abs(filepath.Join(pkg.folder, "mutants_switches.go"))
	if err != nil {
		return nil, err
	}
	replace[here] = added
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(t.dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", overlay, "-o", t.program, "./"+t.folder).CombinedOutput()
}

// survey runs each test by itself and sees which mutants it comes by.
func (t *together) survey(ctx context.Context) error {
	listed, err := t.command(ctx, "-test.list", ".").Output()
	if err != nil {
		return fmt.Errorf("list the tests of %s: %w", t.folder, err)
	}
	t.tests, t.took = map[string][]string{}, map[string]time.Duration{}
	names := slices.Sorted(maps.Keys(t.numbers))
	for _, test := range strings.Fields(string(listed)) {
		if strings.HasPrefix(test, "Benchmark") {
			continue
		}
		seen := t.program + ".seen"
		if err := os.WriteFile(seen, make([]byte, len(t.numbers)), 0o600); err != nil {
			return err
		}
		begun := time.Now()
		out, err := t.run(ctx, patience, test)
		t.took[test] = time.Since(begun)
		if err != nil {
			return fmt.Errorf("%s fails without a mutant: %w\n%.2000s", test, err, out)
		}
		met, err := os.ReadFile(seen)
		if err = errors.Join(err, os.Remove(seen)); err != nil {
			return err
		}
		for _, name := range names {
			if met[t.numbers[name]] == 1 {
				t.tests[name] = append(t.tests[name], test)
			}
		}
	}
	for _, tests := range t.tests {
		slices.SortStableFunc(tests, func(a, b string) int { return cmp.Compare(t.took[a], t.took[b]) })
	}
	return nil
}

// command is the program in the folder of its package, with a bound on its memory: a loop may be one that grows.
func (t *together) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -v 12000000 2>/dev/null; exec "$0" "$@"`, t.program}, args...)...)
	c.Dir = t.folder
	c.WaitDelay = 10 * time.Second
	return c
}

func (t *together) run(ctx context.Context, limit time.Duration, tests ...string) ([]byte, error) {
	quoted := make([]string, len(tests))
	for i, test := range tests {
		quoted[i] = regexp.QuoteMeta(test)
	}
	pattern := "^(" + strings.Join(quoted, "|") + ")$"
	if len(tests) == 1 { // may be a part of a test
		pattern = "^" + strings.Join(strings.Split(quoted[0], "/"), "$/^") + "$"
	}
	return t.command(ctx, "-test.failfast", "-test.timeout", limit.String(), "-test.run", pattern).CombinedOutput()
}

// try runs one test, or all that come by the mutant when test is empty: quick ones in one go, the others one by one.
func (t *together) try(ctx context.Context, m mutant, test string) (verdict, error) {
	if test == "" && t.tests == nil {
		if err := t.survey(ctx); err != nil {
			return verdict{}, err
		}
	}
	on := t.program + ".on"
	if err := os.WriteFile(on, []byte(strconv.Itoa(t.numbers[m.id])), 0o600); err != nil {
		return verdict{}, err
	}
	defer os.Remove(on)
	groups := [][]string{{test}}
	if test == "" {
		groups = t.groups(m)
	}
	for _, group := range groups {
		limit := 20 * time.Second
		if t.tests == nil { // how long it takes is not known
			limit = patience
		}
		for _, one := range group {
			whole, _, _ := strings.Cut(one, "/")
			limit += min(20*t.took[whole], time.Minute+3*t.took[whole]) // a loop in a long test is not waited for twenty times as long
		}
		out, err := t.run(ctx, limit, group...)
		v, err := judge(ctx, out, err)
		if err != nil {
			return verdict{}, err
		}
		if !v.noticed {
			continue
		}
		if v.test == unnamed && len(group) == 1 {
			v.test = group[0]
		}
		return v, nil
	}
	return verdict{alone: test == "" && len(groups) == 0}, nil
}

func (t *together) groups(m mutant) [][]string {
	var groups [][]string
	var quick []string
	sum := time.Duration(0)
	for _, test := range t.tests[m.id] {
		if sum += t.took[test]; sum < 2*time.Second {
			quick = append(quick, test)
			continue
		}
		groups = append(groups, []string{test})
	}
	if len(quick) > 0 {
		groups = slices.Insert(groups, 0, quick)
	}
	return groups
}

// parsed is a package's source with the mutants in it.
type parsed struct {
	folder string
	name   string
	set    *token.FileSet
	files  []*source
	info   types.Info
	own    *types.Package
}

type source struct {
	path  string
	raw   []byte
	tree  *ast.File
	found []mutant
	nodes []ast.Node // of the mutants
}

// check finds the types of the package, for its literals.
func (p *parsed) check(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./"+p.folder).Output()
	if err != nil {
		return fmt.Errorf("list what %s imports: %w", p.folder, err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			exports[path] = file
		}
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	p.info = types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: importer.ForCompiler(p.set, "gc", open)}
	trees := make([]*ast.File, len(p.files))
	for i, f := range p.files {
		trees[i] = f.tree
	}
	p.own, err = config.Check(p.folder, p.set, trees, &p.info)
	if err != nil {
		return fmt.Errorf("check %s: %w", p.folder, err)
	}
	return nil
}

var stumble = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: `)

// stumbled leaves out what is on the lines of which the compiler complains; false where that is nothing new.
func (p *parsed) stumbled(messages []byte, out map[string]bool) bool {
	before := len(out)
	for _, m := range stumble.FindAllSubmatch(messages, -1) {
		line, _ := strconv.Atoi(string(m[2]))
		for _, f := range p.files {
			if filepath.Base(f.path) != filepath.Base(string(m[1])) {
				continue
			}
			for i, one := range f.found {
				from, to := p.set.Position(f.nodes[i].Pos()).Line, p.set.Position(f.nodes[i].End()).Line
				if from <= line && line <= to && (from == line || to == line) {
					out[one.id] = true
				}
			}
		}
	}
	return len(out) > before
}

// switched is the text of the file with a switch at each of its mutants.
func (f *source) switched(p *parsed, numbers map[string]int, without map[string]bool) []byte {
	before, after := map[int]string{}, map[int]string{} // what is put at a byte; outer ones come first
	for i, m := range f.found {
		if without[m.id] {
			continue
		}
		n := len(numbers)
		is := fmt.Sprintf("mutantIs(%d)", n)
		put := func(from, to token.Pos, a, b string) {
			x, y := p.set.Position(from).Offset, p.set.Position(to).Offset
			before[x] += a
			after[y] = b + after[y]
		}
		node := f.nodes[i]
		switch m.Kind {
		case "statement left out":
			if ends(node) {
				continue
			}
			put(node.Pos(), node.End(), "if !"+is+" { ", " }")
		case "literal changed":
			kind := p.typeOf(f, node)
			if kind == "" {
				continue
			}
			put(node.Pos(), node.End(), fmt.Sprintf("mutantPick[%s](%d, ", kind, n), ", "+m.With+")")
		default:
			expression, isBinary := node.(*ast.BinaryExpr)
			if !isBinary || m.Kind == "condition negated" || expression.Op != token.LAND && expression.Op != token.LOR {
				put(node.Pos(), node.End(), "((", ") != "+is+")")
				break
			}
			// x && y is !(!x || !y): turned by negating both and the whole.
			put(expression.Pos(), expression.End(), "((", ") != "+is+")")
			put(expression.X.Pos(), expression.X.End(), "((", ") != "+is+")")
			put(expression.Y.Pos(), expression.Y.End(), "((", ") != "+is+")")
		}
		numbers[m.id] = n
	}
	var out bytes.Buffer
	for at, b := range f.raw {
		out.WriteString(after[at])
		out.WriteString(before[at])
		out.WriteByte(b)
	}
	return out.Bytes()
}

// ends reports whether a function could end with the statement; the compiler would miss it there.
func ends(n ast.Node) bool {
	s, ok := n.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := s.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && name.Name == "panic"
}

// typeOf is the type of a literal as it is written in the file; "" where it has none there.
func (p *parsed) typeOf(f *source, n ast.Node) string {
	e, ok := n.(ast.Expr)
	if !ok {
		return ""
	}
	if id, ok := e.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		if kind := p.info.Types[e].Type; kind == nil || types.Identical(kind, types.Typ[types.UntypedBool]) {
			return "bool"
		}
	}
	kind := p.info.Types[e].Type
	basic, ok := kind.(*types.Basic)
	if kind == nil || ok && basic.Info()&types.IsUntyped != 0 {
		return ""
	}
	named := true
	text := types.TypeString(kind, func(other *types.Package) string {
		if other.Path() == p.own.Path() {
			return ""
		}
		for _, i := range f.tree.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); path == other.Path() {
				if i.Name != nil {
					return i.Name.Name
				}
				return other.Name()
			}
		}
		named = false
		return ""
	})
	if !named {
		return ""
	}
	return text
}

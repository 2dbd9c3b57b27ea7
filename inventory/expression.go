package inventory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// UnknownFieldError is a name in an expression that is no field.
type UnknownFieldError struct {
	Field   string
	Nearest string   // empty where none is similar
	Valid   []string // all fields
}

func (e *UnknownFieldError) Error() string {
	if e.Nearest == "" {
		return fmt.Sprintf("unknown field %q", e.Field)
	}
	return fmt.Sprintf("unknown field %q, did you mean %q?", e.Field, e.Nearest)
}

// compile makes a program of an expression. ago("30d") becomes a time before now, so that all machines of a selection
// are compared with the same moment. checked learns the fields that it uses.
func compile(text string, now time.Time, checked *fieldCheck) (*vm.Program, error) {
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, plainSyntax(text, err)
	}
	ast.Walk(&tree.Node, checked)
	if err := checked.err(); err != nil {
		return nil, err
	}
	folding := &folder{now: now}
	program, err := expr.Compile(text, expr.Env(&env{}), expr.Patch(folding),
		expr.Function("ago", func(...any) (any, error) { return nil, errors.New(`write ago("30d")`) }, new(func(string) time.Time)),
		expr.Function("glob", func(args ...any) (any, error) {
			text, ok := args[0].(string)
			pattern, too := args[1].(string)
			return ok && too && glob(strings.ToLower(pattern), text), nil
		}, new(func(string, string) bool)))
	if folding.err != nil {
		return nil, folding.err
	}
	if err != nil {
		return nil, plainSyntax(text, err)
	}
	if t := program.Node().Type(); t == nil || t.Kind().String() != "bool" {
		return nil, hint.Wrapf(fmt.Errorf("the expression gives %s, not yes or no", kindWords(program)),
			`compare it with something, as in: site == "LON"; names of machines stand alone or separated by commas`)
	}
	return program, nil
}

func kindWords(p *vm.Program) string {
	t := p.Node().Type()
	if t == nil {
		return "nothing"
	}
	switch t.Kind().String() {
	case "string":
		return "text"
	case "int", "float64":
		return "a number"
	case "slice", "array":
		return "a list"
	case "struct":
		return "a time or a group of fields"
	}
	return "a " + t.String()
}

// plainSyntax turns the errors of the expression library into a line with a column.
func plainSyntax(text string, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	msg := strings.TrimSpace(at.Message)
	for internal, plain := range map[string]string{"string": "text", "int": "number", "[]string": "list", "time.Time": "time", "bool": "yes/no"} {
		msg = strings.ReplaceAll(msg, " "+internal+" ", " "+plain+" ")
		msg = strings.ReplaceAll(msg, " "+internal+")", " "+plain+")")
	}
	e := fmt.Errorf("column %d: %s", at.Column+1, msg)
	if strings.Contains(text, "'") || strings.Contains(text, `"`) || strings.ContainsAny(text, "=<>!&|") {
		return hint.Wrap(e, `an expression looks like: os.build < 22631 && site == "LON"`)
	}
	return hint.Wrap(e, "separate names by commas: WS1,WS2")
}

// groups are the fields that have fields.
var groups = []string{"os", "probe", "case"}

// fieldCheck finds names that are no fields.
type fieldCheck struct {
	used []string
	own  []string // let x = ...
}

// Visit notes the names a node uses.
func (c *fieldCheck) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		c.own = append(c.own, n.Name)
	case *ast.IdentifierNode:
		c.used = append(c.used, n.Value)
	case *ast.MemberNode:
		root, isRoot := n.Node.(*ast.IdentifierNode)
		property, isName := n.Property.(*ast.StringNode)
		if isRoot && isName && slices.Contains(groups, root.Value) {
			c.used = append(c.used, root.Value+"."+property.Value)
		}
	}
}

func (c *fieldCheck) err() error {
	valid := make([]string, 0, 32)
	for _, f := range Fields() {
		valid = append(valid, f.Name)
	}
	for _, name := range c.used {
		if slices.Contains(valid, name) || slices.Contains(c.own, name) || slices.Contains(groups, name) || slices.Contains([]string{"ago", "glob", "$env"}, name) {
			continue
		}
		e := &UnknownFieldError{Field: name, Nearest: hint.Nearest(name, valid), Valid: valid}
		if root, _, dotted := strings.Cut(name, "."); e.Nearest == "" && !dotted {
			// "build" for os.build, "winrm" for probe.winrm
			for _, v := range valid {
				if _, last, ok := strings.Cut(v, "."); ok && strings.EqualFold(last, root) {
					e.Nearest = v
				}
			}
		}
		return hint.Wrapf(e, "fields: %s", strings.Join(valid, ", "))
	}
	return nil
}

// folder brings constants into the form the fields have, and checks those of which only a few are valid.
type folder struct {
	now time.Time
	err error
}

// Visit folds the constants of a node.
func (f *folder) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		f.ago(node, n)
	case *ast.BinaryNode:
		for _, side := range [][2]*ast.Node{{&n.Left, &n.Right}, {&n.Right, &n.Left}} {
			if name := fieldOf(*side[0]); name != "" {
				f.fold(name, n.Operator, *side[1])
			}
		}
	}
}

// fieldOf is the name of the field that a node stands for: site, case.route; empty for anything else.
func fieldOf(node ast.Node) string {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		root, isRoot := n.Node.(*ast.IdentifierNode)
		property, isName := n.Property.(*ast.StringNode)
		if isRoot && isName && slices.Contains(groups, root.Value) {
			return root.Value + "." + property.Value
		}
	}
	return ""
}

func (f *folder) ago(node *ast.Node, call *ast.CallNode) {
	if id, ok := call.Callee.(*ast.IdentifierNode); !ok || id.Value != "ago" {
		return
	}
	var age string
	if len(call.Arguments) == 1 {
		if s, ok := call.Arguments[0].(*ast.StringNode); ok {
			age = s.Value
		}
	}
	d, err := parseAge(age)
	if err != nil {
		f.fail(fmt.Errorf("ago: %w", err))
		return
	}
	ast.Patch(node, &ast.ConstantNode{Value: f.now.Add(-d)})
}

func (f *folder) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// fold handles the constants that a field is compared with.
func (f *folder) fold(field, operator string, with ast.Node) {
	switch c := with.(type) {
	case *ast.ArrayNode:
		for _, n := range c.Nodes {
			f.fold(field, operator, n)
		}
	case *ast.StringNode:
		switch field {
		case "name":
			if operator != "matches" {
				c.Value = strings.ToUpper(c.Value)
			}
		case "fqdn", "domain":
			if operator != "matches" {
				c.Value = strings.ToLower(c.Value)
			}
		case "class":
			f.check(field, operator, c.Value, strs(Classes()))
		case "health":
			f.check(field, operator, c.Value, strs(Healths()))
		case "case.verdict":
			f.check(field, operator, c.Value, caseVerdicts)
		case "case.route":
			f.check(field, operator, c.Value, caseRoutes)
		case "case.keys":
			f.check(field, operator, c.Value, caseKeys)
		case "case.next":
			f.check(field, operator, c.Value, caseSteps)
		}
	}
}

func (f *folder) check(field, operator, value string, valid []string) {
	if operator != "==" && operator != "!=" && operator != "in" || value == "" || slices.Contains(valid, value) {
		return
	}
	err := fmt.Errorf("%s is never %q", field, value)
	if near := hint.Nearest(value, valid); near != "" {
		err = fmt.Errorf("%s is never %q, did you mean %q?", field, value, near)
	}
	f.fail(hint.Wrapf(err, "values of %s: %s", field, strings.Join(valid, ", ")))
}

// evaluate runs an expression over all machines, on all processors.
func (p *snapshot) evaluate(ctx context.Context, text string, now time.Time, over Overlay) ([]bool, error) {
	program, err := compile(text, now, &fieldCheck{})
	if err != nil {
		return nil, err
	}
	picked := make([]bool, len(p.machines))
	workers := max(1, min(runtime.GOMAXPROCS(0), len(p.machines)/4096))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			errs[w] = p.evaluateSome(ctx, program, over, picked, w*len(p.machines)/workers, (w+1)*len(p.machines)/workers)
		})
	}
	wg.Wait()
	return picked, errors.Join(errs...)
}

func (p *snapshot) evaluateSome(ctx context.Context, program *vm.Program, over Overlay, picked []bool, from, to int) error {
	var machine vm.VM
	var seen env
	for i := from; i < to; i++ {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		seen.fill(&p.machines[i])
		if over != nil {
			seen.lay(over.Case(&p.machines[i]))
		}
		var err error
		if picked[i], err = fitsProgram(&machine, program, &seen, &p.machines[i]); err != nil {
			return err
		}
	}
	return nil
}

func fitsProgram(machine *vm.VM, program *vm.Program, seen *env, m *Machine) (bool, error) {
	out, err := machine.Run(program, seen)
	if err != nil {
		return false, fmt.Errorf("for %s: %w", m.Name, plainSyntax("==", err))
	}
	fits, _ := out.(bool)
	return fits, nil
}

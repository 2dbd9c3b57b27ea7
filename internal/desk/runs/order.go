package runs

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// order is what a runner is told through its standard input, one JSON document: the only way that secrets take.
type order struct {
	V            int              `json:"v"` // 1
	Plan         json.RawMessage  `json:"plan,omitempty"`
	Resume       string           `json:"resume,omitempty"` // run to go on with, instead of a plan
	Rules        Rules            `json:"rules,omitzero"`   // with Resume
	PasswordFile string           `json:"password_file,omitempty"`
	Log          string           `json:"log"`     // where its standard error goes
	Answers      map[string]given `json:"answers"` // by ID of the question
	Files        map[string]given `json:"files"`   // secrets that were read from files, by name
}

// given is an answer as it travels.
type given struct {
	Text   string `json:"text,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// hello is the one line that a runner answers with, before it lets go of its standard output.
type hello struct {
	Run    string         `json:"run,omitempty"`
	First  int64          `json:"first,omitempty"` // number of the first event of this life
	Error  string         `json:"error,omitempty"` // why there is no run
	Hints  []string       `json:"hints,omitempty"`
	Locked *journal.Owner `json:"locked,omitempty"` // with Error: who works on the run
}

// refused is why a runner did not begin.
func (h *hello) refused() error {
	if h.Locked != nil {
		return advised(&journal.LockedError{Owner: *h.Locked}, h.Hints)
	}
	return advised(errors.New(h.Error), h.Hints)
}

// proof is the Asker, and the reader of secret files, of the one who starts a runner: it remembers what was answered. What a
// run could have to ask is asked before it is on its own.
type proof struct {
	ask  question.Asker
	read func(string) (secret.String, string, error)

	mu      sync.Mutex
	answers map[string]given
	files   map[string]given
}

func (p *proof) Ask(ctx context.Context, q question.Question) (question.Answer, error) {
	answer, err := p.ask.Ask(ctx, q)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answers[q.ID] = given{answer.Text, answer.Secret.Reveal()}
	}
	return answer, err
}

func (p *proof) readFile(file string) (secret.String, string, error) {
	value, remark, err := p.read(file)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.files[file] = given{Secret: value.Reveal()}
	}
	return value, remark, err
}

// prove makes the routes of a plan once, so that everything is asked that they need, and returns the answers.
func prove(ctx context.Context, d *desk.Desk, p *plan.Plan, o Options) (*proof, error) {
	seen := &proof{ask: d.Ask, read: d.Connect.Read, answers: map[string]given{}, files: map[string]given{}}
	options := d.Connect.Options
	options.Ask, options.Read = seen, seen.readFile
	c := connect.New(options)
	_, err := routesOf(ctx, c, p, connect.RouteOptions{PasswordFile: o.PasswordFile})
	return seen, errors.Join(err, c.Close())
}

// answered is the Asker of a runner.
type answered map[string]given

func (a answered) Ask(ctx context.Context, q question.Question) (question.Answer, error) {
	if got, ok := a[q.ID]; ok {
		return question.Answer{Text: got.Text, Secret: secret.New(got.Secret)}, nil
	}
	return question.Nobody{}.Ask(ctx, q)
}

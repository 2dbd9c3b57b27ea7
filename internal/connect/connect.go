// Package connect makes what fleetmend connects to from its settings: routes to machines, directories, sources of machines and
// of recovery keys.
//
// [New] makes a [Connector]; [Connector.Route] and [Connector.KeySources] are what most callers need. A new route or source is
// one row in a table of this package. It sends nothing before it is used, asks for a password through the [question.Asker]
// where the settings name no file, and opens no store: what it has to look up of a machine is handed to it.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Options say what a Connector works with.
type Options struct {
	Settings settings.Settings
	Ask      question.Asker // nil: nobody can be asked
	Tell     func(string)   // a remark while one waits; nil: dropped
	Logger   *slog.Logger
	Version  string // of fleetmend, for those who are asked
	// Read reads a secret from a file, with a remark; nil: its first line. A process that was handed the secrets has another.
	Read func(file string) (secret.String, string, error)
	// Machine looks up a machine by its ID; routes whose machines have accounts of their own need it.
	Machine func(ctx context.Context, id string) (inventory.Machine, error)
	// Ledger gives what counts the sign-ins of a user of the directory, and the NetBIOS name of its domain where that is known; nil:
	// nobody counts.
	Ledger func(ctx context.Context, user, domain string) (route.Ledger, string, error)
}

// Connector makes routes and sources. It is safe for concurrent use; Close ends what it made.
type Connector struct {
	Options
	mu      sync.Mutex
	owns    []io.Closer
	ledgers map[string]counting // by user
}

// New makes a Connector of options.
func New(o Options) *Connector {
	if o.Ask == nil {
		o.Ask = question.Nobody{}
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Read == nil {
		o.Read = textfile.Secret
	}
	return &Connector{Options: o}
}

// RouteOptions are what a caller may say of a route.
type RouteOptions struct {
	PasswordFile string       // in place of that of the settings
	Ledger       route.Ledger // of the sign-ins of all runs; nil: of this route alone
}

// way makes a route, and has the limits that it needs in place of those of a run.
type way struct {
	make   func(context.Context, *Connector, RouteOptions) (route.Route, error)
	limits route.Limits
}

// routes are the ways to a machine, by the word that a plan has for them.
var routes = map[string]way{
	"winrm": {make: winrmRoute},
}

// Limits are those of the routes that this build knows, by their words.
func Limits() map[string]route.Limits {
	all := map[string]route.Limits{}
	for name, way := range routes {
		all[name] = way.limits
	}
	return all
}

// Routes are the words of the routes that this build knows, sorted.
func Routes() []string {
	var names []string
	for name := range routes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Route makes the route of a word. A mistake of the settings is a [hint.MistakeError].
func (c *Connector) Route(ctx context.Context, name string, how RouteOptions) (route.Route, error) {
	made, ok := routes[name]
	if !ok {
		return nil, hint.Mistake(fmt.Errorf("no route %q here", name), "the routes are %s", strings.Join(Routes(), ", "))
	}
	return made.make(ctx, c, how)
}

// own closes something with the Connector.
func (c *Connector) own(closer io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owns = append(c.owns, closer)
}

// Close ends the connections of all that was made here.
func (c *Connector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, closer := range slices.Backward(c.owns) {
		errs = append(errs, closer.Close())
	}
	c.owns = nil
	return errors.Join(errs...)
}

// password asks for a password; missing and advice are said where nobody can be asked.
func (c *Connector) password(ctx context.Context, id, text, missing, advice string) (secret.String, error) {
	answer, err := c.Ask.Ask(ctx, question.Question{ID: id, Kind: question.Secret, Text: text, Flag: advice})
	if needed := (*question.NeededError)(nil); errors.As(err, &needed) {
		return secret.String{}, question.Needed(needed.Question, missing)
	}
	return answer.Secret, err
}

// MaxCA bounds a file of certificates; the roots of all systems together have some 200 KB.
const MaxCA = 16 << 20

// Trusted returns the system's authorities and those in the PEM file; nil where there is no file.
func Trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := textfile.Bytes(file, MaxCA)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the authorities to trust: %w", err), "it must be a PEM file")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if certificates, err := x509.ParseCertificates(data); err == nil && len(certificates) > 0 { // DER, as Windows exports .cer
		for _, c := range certificates {
			pool.AddCert(c)
		}
		return pool, nil
	}
	if text, err := textfile.Decode(data); err != nil || !pool.AppendCertsFromPEM([]byte(text.Content)) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// KeyPair reads a certificate with its chain and its key from PEM files, in whichever encoding an editor left them.
func KeyPair(certificate, key string) (tls.Certificate, error) {
	var pem [2][]byte
	for i, file := range []string{certificate, key} {
		text, err := textfile.Read(file, MaxCA)
		if err != nil {
			return tls.Certificate{}, err
		}
		pem[i] = []byte(text.Content)
	}
	return tls.X509KeyPair(pem[0], pem[1])
}

// Secret reads a password, passphrase, token or secret from the first line of a file; advice says which file that is.
func (c *Connector) Secret(file, advice string) (secret.String, error) {
	value, remark, err := c.Read(file)
	if err != nil {
		return secret.String{}, hint.Wrap(fmt.Errorf("read the secret: %w", err), advice)
	}
	if remark != "" {
		c.warn(remark)
	}
	return value, nil
}

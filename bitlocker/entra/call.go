package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"golang.org/x/time/rate"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/network"
	"github.com/fleetmend/fleetmend/internal/prose"
)

const (
	maxAnswer = 32 << 20
	maxPages  = 100_000
)

// Refusal is an answer of Graph that is no success.
type Refusal struct {
	Status    int    // of HTTP
	Code      string // Graph's word for it
	Message   string
	RequestID string // what Microsoft's support asks for
}

func (r *Refusal) Error() string {
	text := fmt.Sprintf("Graph answered %d", r.Status)
	if r.Code != "" {
		text += " " + r.Code
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	if r.RequestID != "" {
		text += " (request " + r.RequestID + ")"
	}
	return text
}

// status is the HTTP status of a refusal, 0 for any other error or none.
func status(err error) int {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status
	}
	return 0
}

// denied turns a 403 into the given sentinel, with advice.
func denied(err, sentinel error, advice string) error {
	if status(err) != http.StatusForbidden {
		return err
	}
	return hint.Wrap(fmt.Errorf("%w: %w", sentinel, err), advice)
}

// call makes one request and decodes its answer into out, which may be nil.
func (s *Source) call(ctx context.Context, method, address string, out any) error {
	req, err := runtime.NewRequest(ctx, method, address)
	if err != nil {
		return err
	}
	resp, err := s.pipeline.Do(req)
	if err != nil {
		return plain(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read as a whole
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	if out == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	defer clear(body)
	if err := json.Unmarshal(body, out); err != nil {
		// The decoder's own words may quote the answer.
		return errors.New("graph answered with something that is not its documented form")
	}
	return nil
}

func refusal(resp *http.Response) error {
	r := &Refusal{Status: resp.StatusCode, RequestID: resp.Header.Get("request-id")}
	var body struct {
		Error struct{ Code, Message string }
	}
	if raw, err := io.ReadAll(resp.Body); err == nil && json.Unmarshal(raw, &body) == nil {
		r.Code, r.Message = prose.Short(body.Error.Code, longestText), prose.Short(body.Error.Message, longestText)
	}
	switch r.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return hint.Wrap(r, "Microsoft asks for patience; what was read before is kept, try again later")
	case http.StatusUnauthorized:
		return hint.Wrap(r, "the tenant does not accept the token: check that the application and the cloud are of this tenant")
	}
	return r
}

// longestText bounds what a server says of an error.
const longestText = 300

// page is one page of a list.
type page[T any] struct {
	Value []T    `json:"value"`
	Next  string `json:"@odata.nextLink"`
}

// each reads a list to its end. A link to the next page is followed only within the endpoint, which alone may see the
// token, and never twice.
func each[T any](ctx context.Context, s *Source, path string, do func(T) error) error {
	endpoint, err := url.Parse(s.options.Cloud.Graph)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for next := s.options.Cloud.Graph + path; next != ""; {
		u, err := url.Parse(next)
		if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Host, endpoint.Host) || u.User != nil {
			return errors.New("graph names a next page that is on another server")
		}
		if seen[next] || len(seen) >= maxPages {
			return errors.New("graph names the same next page again and again")
		}
		seen[next] = true
		var p page[T]
		if err := s.call(ctx, http.MethodGet, next, &p); err != nil {
			return err
		}
		for _, v := range p.Value {
			if err := do(v); err != nil {
				return err
			}
		}
		next = p.Next
	}
	return nil
}

// headers are what the calls for recovery keys want besides the token.
type headers struct{ version string }

func (h headers) Do(req *policy.Request) (*http.Response, error) {
	header := req.Raw().Header
	header.Set("ocp-client-name", "fleetmend")
	header.Set("ocp-client-version", h.version)
	header.Set("Accept", "application/json")
	return req.Next()
}

// pace holds requests back, retries included.
type pace struct{ limit *rate.Limiter }

func (p pace) Do(req *policy.Request) (*http.Response, error) {
	if err := p.limit.Wait(req.Raw().Context()); err != nil {
		return nil, err
	}
	return req.Next()
}

// bounded is a transport whose requests and answers end somewhere, and that follows no redirection with a token.
type bounded struct{ client *http.Client }

func newBounded(c *http.Client) bounded {
	client := *c
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Timeout == 0 {
		client.Timeout = tryTimeout
	}
	return bounded{&client}
}

func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, network.Plain(req.URL.Host, err)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

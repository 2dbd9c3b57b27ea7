package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

const replanHint = "make a new plan with `fleetmend plan`"

// Seal validates the plan and sets its digest. Whoever changes a plan in memory seals it again.
func (p *Plan) Seal() error {
	if err := p.validate(); err != nil {
		return err
	}
	p.clean()
	digest, err := p.digest()
	if err != nil {
		return err
	}
	p.Digest = digest
	return nil
}

// digest is over the compact JSON of everything but the digest, so that white space in a file does not matter.
func (p *Plan) digest() (string, error) {
	bare := *p
	bare.Digest = ""
	hash := sha256.New()
	if err := json.NewEncoder(hash).Encode(&bare); err != nil {
		return "", fmt.Errorf("encode plan: %w", err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// clean makes the texts of the plan valid UTF-8, as JSON would, so that the digest survives being written and read.
func (p *Plan) clean() {
	fix := func(texts ...*string) {
		for _, s := range texts {
			if !utf8.ValidString(*s) {
				*s = strings.ToValidUTF8(*s, "\uFFFD")
			}
		}
	}
	fix(&p.Operator, &p.Selector, &p.PlaybookDigest)
	for k, v := range p.Parameters {
		fix(&v)
		p.Parameters[k] = v
	}
	for w := range p.Waves {
		for i := range p.Waves[w].Entries {
			e := &p.Waves[w].Entries[i]
			fix(&e.ID, &e.Name, &e.Address, &e.Site, &e.Subnet, &e.Class, &e.Route, &e.Reason)
		}
	}
	for i := range p.Skipped {
		fix(&p.Skipped[i].ID, &p.Skipped[i].Name, &p.Skipped[i].Reason)
	}
}

// Verify returns an *EditedError when the plan was changed since it was sealed.
func (p *Plan) Verify() error {
	digest, err := p.digest()
	if err != nil {
		return err
	}
	if digest != p.Digest {
		return hint.Wrap(&EditedError{}, "a plan is applied as it was shown; "+replanHint)
	}
	return nil
}

// Encode gives the plan file's content.
func (p *Plan) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return b.Bytes(), nil
}

// Save writes the plan to a file, whole or not at all.
func (p *Plan) Save(path string) error {
	data, err := p.Encode()
	if err != nil {
		return err
	}
	err = textfile.Write(path, textfile.Shared, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("save plan: %w", err)
	}
	return nil
}

// maxFile bounds what Load reads: 50,000 machines make about 20 MB.
const maxFile = 512 << 20

// Load reads a plan file for an apply at the time now. It refuses a plan of another format version (*VersionError), one
// that was edited (*EditedError), one that has expired (*ExpiredError) and one without machines (*EmptyError).
func Load(path string, now time.Time) (*Plan, error) {
	text, err := textfile.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("load plan: %w", err)
	}
	p, err := decode(path, []byte(text.Content))
	if err != nil {
		return nil, err
	}
	if err := p.fresh(path, now); err != nil {
		return nil, err
	}
	return p, nil
}

// Decode reads what Encode wrote and checks the digest, not the expiry: a run that has begun may be resumed at any time.
func Decode(data []byte) (*Plan, error) { return decode("", data) }

func decode(path string, data []byte) (*Plan, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil || head.Version == nil {
		if err == nil {
			err = errors.New("it has no version")
		}
		return nil, hint.Wrap(fmt.Errorf("load plan %s: this is no plan file: %w", name(path), err), "a plan is written by `fleetmend plan --out FILE`")
	}
	if *head.Version != Version {
		return nil, hint.Wrap(&VersionError{Path: path, Version: *head.Version}, replanHint)
	}
	p := &Plan{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(p); err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: %w", &EditedError{Path: path}, err), replanHint)
	}
	digest, err := p.digest()
	if err != nil {
		return nil, err
	}
	if digest != p.Digest {
		return nil, hint.Wrap(&EditedError{Path: path}, "a plan is applied as it was shown; "+replanHint)
	}
	p.numbers()
	if err := p.validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// numbers turns the json.Number of values without a type of their own into what playbook documents for them.
func (p *Plan) numbers() {
	for i := range p.Playbook.Detect {
		p.Playbook.Detect[i].Equals = plain(p.Playbook.Detect[i].Equals)
	}
	for i := range p.Playbook.Verify {
		p.Playbook.Verify[i].Equals = plain(p.Playbook.Verify[i].Equals)
	}
	for i := range p.Playbook.Fix {
		if r := p.Playbook.Fix[i].Registry; r != nil {
			r.Value = plain(r.Value)
		}
	}
}

func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		texts := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return value
			}
			texts = append(texts, s)
		}
		return texts
	}
	return value
}

// Fresh returns an *ExpiredError when the plan may no longer be started at the time now.
func (p *Plan) Fresh(now time.Time) error { return p.fresh("", now) }

func (p *Plan) fresh(path string, now time.Time) error {
	if now.Before(p.Expires) {
		return nil
	}
	return hint.Wrap(&ExpiredError{Path: path, Expired: p.Expires}, "the fleet may have changed since; "+replanHint)
}

// Check compares the digest of the playbook as it is now with the one the plan was made from; a *ChangedError says they
// differ.
func (p *Plan) Check(playbookDigest string) error {
	if playbookDigest == p.PlaybookDigest {
		return nil
	}
	return hint.Wrap(&ChangedError{Playbook: p.Playbook.Name, Planned: p.PlaybookDigest, Current: playbookDigest},
		"the plan still holds the playbook as it was shown; "+replanHint+" to use the new one")
}

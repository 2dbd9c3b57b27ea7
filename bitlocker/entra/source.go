package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"golang.org/x/time/rate"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Options say which tenant to read and who asks. Tenant and ClientID are needed, and one way to sign in: Secret,
// Certificate, DeviceCode or Credential.
type Options struct {
	Tenant   string // directory ID or a domain of the tenant
	ClientID string // application ID
	Cloud    Cloud  // the public one

	Secret      secret.String // of the application
	Certificate []byte        // of the application, with its private key: PEM or PKCS #12
	Password    secret.String // of a PKCS #12 certificate

	// DeviceCode shows a user where to sign in and which code to type. It is called when a token is needed.
	DeviceCode func(ctx context.Context, prompt Prompt) error
	Credential azcore.TokenCredential // made by the caller

	Version string        // of this program, for the headers that Graph wants; "dev"
	Client  *http.Client  // for another proxy or trust; without a time-out of its own each request has a minute
	Rate    float64       // requests a second; 4
	Retries int           // of a request that was throttled or lost; 6, negative for none
	Delay   time.Duration // before the first of them where the server names none, then growing, with jitter; 1 s
	Warn    func(string)  // what is missing without being an error; may be nil
}

// private reports whether the cloud is none of Microsoft's, so that nothing about it can be asked there.
func (o *Options) private() bool { return !slices.Contains(clouds, o.Cloud) }

// Prompt is what a user must do to sign in.
type Prompt struct {
	URL  string
	Code string
	Text string // both, in a sentence of the server's
}

// Source reads the recovery keys of a tenant. It is a [bitlocker.Source] and safe for concurrent use.
type Source struct {
	options  Options
	identity azcore.TokenCredential
	pipeline runtime.Pipeline
	limit    *rate.Limiter
}

var _ bitlocker.Source = (*Source)(nil)

const (
	keysPath    = "/v1.0/informationProtection/bitlocker/recoveryKeys"
	devicesPath = "/v1.0/devices"
	managedPath = "/v1.0/deviceManagement/managedDevices"

	overlap       = time.Hour // a key may be listed later than it was made
	maxRetryDelay = 2 * time.Minute
	tryTimeout    = time.Minute // of one request; not of a try, which may wait for a user to sign in
)

// New makes a source. It connects to nothing before the first call.
func New(o Options) (*Source, error) {
	if o.Tenant == "" {
		return nil, errors.New("open Entra source: no tenant is given")
	}
	if o.Cloud == (Cloud{}) {
		o.Cloud = clouds[0]
	}
	if endpoint, err := url.Parse(o.Cloud.Graph); err != nil || endpoint.Scheme != "https" || endpoint.Host == "" {
		return nil, fmt.Errorf("open Entra source: endpoint %q is no https address", o.Cloud.Graph)
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Rate <= 0 {
		o.Rate = 4
	}
	if o.Retries == 0 {
		o.Retries = 6
	}
	if o.Delay <= 0 {
		o.Delay = time.Second
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Client == nil {
		o.Client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	credential, err := o.credential()
	if err != nil {
		return nil, fmt.Errorf("open Entra source: %w", err)
	}
	s := &Source{options: o, identity: credential, limit: rate.NewLimiter(rate.Limit(o.Rate), max(1, int(o.Rate)))}
	s.pipeline = runtime.NewPipeline("fleetmend", o.Version, runtime.PipelineOptions{
		PerCall:  []policy.Policy{headers{o.Version}},
		PerRetry: []policy.Policy{pace{s.limit}, runtime.NewBearerTokenPolicy(credential, []string{o.Cloud.Graph + "/.default"}, nil)},
	}, o.clientOptions())
	return s, nil
}

func (o *Options) clientOptions() *policy.ClientOptions {
	return &policy.ClientOptions{
		Transport: newBounded(o.Client),
		Telemetry: policy.TelemetryOptions{ApplicationID: "fleetmend"},
		Retry:     policy.RetryOptions{MaxRetries: int32(o.Retries), RetryDelay: o.Delay, MaxRetryDelay: maxRetryDelay},
	}
}

// Name implements [bitlocker.Source].
func (s *Source) Name() string { return "entra:" + strings.ToLower(s.options.Tenant) }

// recoveryKey is a bitlockerRecoveryKey of Graph.
type recoveryKey struct {
	ID       string        `json:"id"`
	Created  time.Time     `json:"createdDateTime"`
	Volume   any           `json:"volumeType"` // a word, or a number in either form
	DeviceID string        `json:"deviceId"`
	Key      secretPayload `json:"key"`
}

// Keys implements [bitlocker.Source]. Graph cannot be asked for what is new, so that the whole list is read each time;
// names and serial numbers come from the lists of devices where the right for them is there.
func (s *Source) Keys(ctx context.Context, since time.Time, emit func(bitlocker.KeyRef) error) error {
	devices, err := s.devices(ctx)
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", s.Name(), err)
	}
	bad := 0
	err = each(ctx, s, keysPath+"?$select=id,createdDateTime,volumeType,deviceId", func(k recoveryKey) error {
		if !since.IsZero() && !k.Created.IsZero() && k.Created.Before(since.Add(-overlap)) {
			return nil
		}
		id, err := bitlocker.ParseKeyID(k.ID)
		if err != nil {
			bad++
			return nil
		}
		machine := devices[strings.ToLower(k.DeviceID)]
		machine.DeviceID = strings.ToLower(k.DeviceID)
		return emit(bitlocker.KeyRef{
			ID: id, Volume: volume(k.Volume), Machine: machine, Created: k.Created.UTC(), Source: s.Name(), SourceKey: strings.ToLower(k.ID),
		})
	})
	if bad > 0 {
		s.options.Warn(fmt.Sprintf("%s: %d keys have no proper key ID and were left out", s.Name(), bad))
	}
	if err != nil {
		return fmt.Errorf("list keys of %s: %w", s.Name(), denied(err, bitlocker.ErrListDenied, "listing keys needs the permission BitlockerKey.ReadBasic.All, "+
			"for the application with an administrator's consent, for a user with a role such as Cloud Device Administrator, Helpdesk Administrator or Security Reader"))
	}
	return nil
}

// Password implements [bitlocker.Source]. Each call writes an entry into the tenant's audit log.
func (s *Source) Password(ctx context.Context, ref bitlocker.KeyRef) (bitlocker.Password, error) {
	id := ref.SourceKey
	if id == "" {
		id = strings.ToLower(string(ref.ID))
	}
	var k recoveryKey
	err := s.call(ctx, http.MethodGet, s.options.Cloud.Graph+keysPath+"/"+url.PathEscape(id)+"?$select=key", &k)
	if err != nil {
		err = denied(err, bitlocker.ErrReadDenied, "reading a key needs the permission BitlockerKey.Read.All, for the application with an administrator's consent, "+
			"for a user with a role such as Cloud Device Administrator, Helpdesk Administrator or Security Reader")
		if status(err) == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", bitlocker.ErrNotStored, err)
		}
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.Name(), err)
	}
	if k.Key.IsZero() {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w: the answer has no key in it", ref.ID, s.Name(), bitlocker.ErrReadDenied)
	}
	password, err := bitlocker.ParsePassword(k.Key.Reveal())
	if err != nil {
		return bitlocker.Password{}, fmt.Errorf("read key %s from %s: %w", ref.ID, s.Name(), err)
	}
	return password, nil
}

// volume reads volumeType: Graph's words, or their numbers, which some tenants send.
func volume(v any) bitlocker.Volume {
	switch strings.ToLower(fmt.Sprint(v)) {
	case "operatingsystemvolume", "1":
		return bitlocker.VolumeOS
	case "fixeddatavolume", "2":
		return bitlocker.VolumeFixed
	case "removabledatavolume", "3":
		return bitlocker.VolumeRemovable
	}
	return bitlocker.VolumeUnknown
}

// secretPayload decodes a JSON string into a secret.
type secretPayload struct{ secret.String }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *secretPayload) UnmarshalText(text []byte) error {
	p.String = secret.New(string(text))
	return nil
}

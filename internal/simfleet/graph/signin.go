package graph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// deviceCode is a sign-in that waits for its user.
type deviceCode struct {
	user, app string
	approved  *User
	denied    bool
	expires   time.Time
}

func (s *Server) configuration(w http.ResponseWriter, r *http.Request) {
	base := s.URL() + "/" + r.PathValue("tenant")
	reply(w, http.StatusOK, map[string]any{
		"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
		"device_authorization_endpoint": base + "/oauth2/v2.0/devicecode", "tenant_region_scope": "EU",
	})
}

// token answers client_credentials and device_code (RFC 6749 section 4.4, RFC 8628 section 3.4, RFC 7523 for certificates).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := r.ParseForm(); err != nil {
		deny(w, "invalid_request", "AADSTS900144: The request body cannot be read.")
		return
	}
	if tenant := r.PathValue("tenant"); !strings.EqualFold(tenant, s.config.TenantID) {
		deny(w, "invalid_request", "AADSTS90002: Tenant '"+tenant+"' not found.")
		return
	}
	switch r.Form.Get("grant_type") {
	case "client_credentials":
		s.applicationToken(w, r)
	case "device_code", "urn:ietf:params:oauth:grant-type:device_code":
		s.userToken(w, r)
	default:
		deny(w, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
	}
}

func (s *Server) applicationToken(w http.ResponseWriter, r *http.Request) {
	id := r.Form.Get("client_id")
	i := slices.IndexFunc(s.config.Apps, func(a App) bool { return strings.EqualFold(a.ID, id) })
	if i < 0 {
		deny(w, "unauthorized_client", "AADSTS700016: Application with identifier '"+id+"' was not found in the directory.")
		return
	}
	app := s.config.Apps[i]
	switch {
	case r.Form.Get("client_assertion") != "":
		if !app.asserts(r.Form.Get("client_assertion")) {
			deny(w, "invalid_client", "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application.")
			return
		}
	case app.Secret.IsZero() || r.Form.Get("client_secret") != app.Secret.Reveal():
		deny(w, "invalid_client", "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.")
		return
	}
	if !slices.ContainsFunc(strings.Fields(r.Form.Get("scope")), func(s string) bool { return strings.HasSuffix(s, "/.default") }) {
		deny(w, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default.")
		return
	}
	reply(w, http.StatusOK, s.issue("app:"+app.ID, app.Permissions))
}

// asserts checks a client assertion: a JSON web token signed with RS256 or PS256 by the registered certificate.
func (a App) asserts(token string) bool {
	parts := strings.Split(token, ".")
	if a.Certificate == nil || len(parts) != 3 {
		return false
	}
	public, ok := a.Certificate.PublicKey.(*rsa.PublicKey)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if !ok || err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) != nil && rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, nil) != nil {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer  string `json:"iss"`
		Expires int64  `json:"exp"`
	}
	return err == nil && json.Unmarshal(raw, &claims) == nil && strings.EqualFold(claims.Issuer, a.ID) && claims.Expires > time.Now().Unix()
}

// issue makes an access token, which is opaque: nobody but the tenant can read anything from it.
func (s *Server) issue(actor string, permissions []string) map[string]any {
	token := randomText(32)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = &grant{actor: actor, permissions: permissions, expires: time.Now().Add(tokenLife)}
	return map[string]any{"token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "ext_expires_in": int(tokenLife.Seconds()), "access_token": token}
}

func (s *Server) newDeviceCode(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	id := r.FormValue("client_id")
	if !slices.ContainsFunc(s.config.Apps, func(a App) bool { return strings.EqualFold(a.ID, id) }) {
		deny(w, "unauthorized_client", "AADSTS700016: Application with identifier '"+id+"' was not found in the directory.")
		return
	}
	code := randomText(24)
	user := strings.ToUpper(randomText(6))[:8]
	user = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return 'X'
		}
		return r
	}, user)
	s.mu.Lock()
	s.codes[code] = &deviceCode{user: user, app: id, expires: time.Now().Add(15 * time.Minute)}
	s.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": user, "verification_uri": s.URL() + "/devicelogin", "expires_in": 900, "interval": deviceCodeInterval,
		"message": "To sign in, open " + s.URL() + "/devicelogin and enter the code " + user + ".",
	})
}

// Approve signs a user in for a device code, as if they had typed it. An empty user declines.
func (s *Server) Approve(userCode, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.codes {
		if !strings.EqualFold(c.user, userCode) {
			continue
		}
		if user == "" {
			c.denied = true
			return nil
		}
		i := slices.IndexFunc(s.config.Users, func(u User) bool { return strings.EqualFold(u.Name, user) })
		if i < 0 {
			return fmt.Errorf("sign in %q: no such user of the simulated tenant", user)
		}
		c.approved = &s.config.Users[i]
		return nil
	}
	return fmt.Errorf("sign in: the code %q is unknown or used", userCode)
}

func (s *Server) userToken(w http.ResponseWriter, r *http.Request) {
	id := r.Form.Get("device_code")
	s.mu.Lock()
	c := s.codes[id]
	var user *User
	denied := false
	if c != nil {
		user, denied = c.approved, c.denied
		if user != nil || denied {
			delete(s.codes, id)
		}
	}
	s.mu.Unlock()
	switch {
	case c == nil || time.Now().After(c.expires):
		deny(w, "expired_token", "AADSTS70020: The provided value for the input parameter 'device_code' is not valid. This device code has expired.")
	case denied:
		deny(w, "authorization_declined", "AADSTS70018: The end user has denied the authorization request.")
	case user == nil:
		deny(w, "authorization_pending", "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	default:
		body := s.issue("user:"+user.Name, user.Permissions)
		uid := hex.EncodeToString(hashOf(user.Name))[:32]
		body["scope"] = r.Form.Get("scope")
		body["client_info"] = encode(map[string]string{"uid": uid, "utid": s.config.TenantID})
		body["id_token"] = encode(map[string]string{"alg": "none", "typ": "JWT"}) + "." + encode(map[string]any{
			"aud": c.app, "iss": s.URL() + "/" + s.config.TenantID + "/v2.0", "tid": s.config.TenantID, "oid": uid, "sub": uid,
			"preferred_username": user.Name, "iat": time.Now().Unix(), "exp": time.Now().Add(tokenLife).Unix(), "ver": "2.0",
		}) + "."
		reply(w, http.StatusOK, body)
	}
}

var loginForm = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("login").Parse(`<!doctype html><meta charset="utf-8"><title>Sign in (simulated tenant)</title>
<h1>Sign in to the simulated tenant</h1>{{if .Text}}<p>{{.Text}}</p>{{end}}
<form method="post"><p><label>Code <input name="code" value="{{.Code}}"></label>
<p><label>User <select name="user">{{range .Users}}<option>{{.Name}}</option>{{end}}</select></label>
<p><button>Sign in</button></form>
`))
})

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	s.page(w, r.FormValue("code"), "")
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := s.Approve(r.FormValue("code"), r.FormValue("user")); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		s.page(w, r.FormValue("code"), err.Error())
		return
	}
	s.page(w, "", "You are signed in. Go back to the program.")
}

func (s *Server) page(w http.ResponseWriter, code, text string) {
	_ = loginForm().Execute(w, map[string]any{"Code": code, "Text": text, "Users": s.config.Users}) // the client is gone
}

// deny answers as the identity platform does.
func deny(w http.ResponseWriter, code, description string) {
	reply(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": description, "trace_id": randomGUID(), "timestamp": time.Now().UTC().Format("2006-01-02 15:04:05Z")})
}

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("graph: encode our own claims: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func hashOf(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

func randomText(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(raw)
}

func randomGUID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

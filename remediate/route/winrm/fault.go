package winrm

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// The operations, as they stand in route.Error.Op.
const (
	opConnect      = "connect"
	opAuthenticate = route.OpAuthenticate
	opCreate       = "create"
	opCommand      = "command"
	opSend         = "send"
	opReceive      = route.OpReceive
	opDelete       = "delete"
	opIdentify     = "identify"
)

// The fault codes that a caller branches on (winerror.h, wsmerror.h).
const (
	codeOperationTimeout = 2150858793 // 80338029: no output yet
	codeProfileUnloading = 2147943418 // 800703FA: registry key marked for deletion
)

// faultKind is what a fault code means. class holds while nothing ran; a fault that only tells that the command was lost
// has class Unknown and becomes Unreachable before there was a command.
type faultKind struct {
	class route.Class
	what  string
	hint  string
}

const (
	hintQuota  = "the machine's WinRM quota is used up; the run tries again later. See winrm get winrm/config/winrs on the machine"
	hintLost   = "the machine or its WinRM service restarted, or the shell was closed; the run asks again by run ID and the machine answers from its record"
	hintHTTPS  = "use scheme https (port 5986), or the port of the HTTP listener (5985)"
	hintDenied = "the account is known but not allowed: it must be an administrator of the machine. A local administrator other than the built-in one is " +
		"filtered over the network unless LocalAccountTokenFilterPolicy is 1 (HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System); a domain account in Administrators is not"
)

// faults is the meaning of every code we know. Codes are compared as numbers; the texts come in the machine's language.
var faults = map[uint32]faultKind{
	codeOperationTimeout: {route.Unknown, "the operation timed out on the machine", ""},
	2150858843:           {route.Unknown, "the machine no longer knows the shell or command", hintLost},
	2150859173:           {route.Busy, "too many shells of this user", hintQuota},
	2150859174:           {route.Busy, "too many operations of this user", hintQuota},
	2150859175:           {route.Busy, "the user's quota is used up", hintQuota},
	2150859176:           {route.Busy, "the machine's quota is used up", hintQuota},
	2150859179:           {route.Busy, "too many users with shells", hintQuota},
	2150859236:           {route.Busy, "too many shells of the shell plug-in", hintQuota},
	2150859238:           {route.Busy, "too many operations of the shell plug-in", hintQuota},
	2150859239:           {route.Busy, "too many operations of this user in the shell plug-in", hintQuota},
	2150859240:           {route.Busy, "too many commands in the shell plug-in", hintQuota},
	2150859241:           {route.Busy, "the shell plug-in's quota is used up", hintQuota},
	2150858815:           {route.Busy, "a quota of the machine is used up", hintQuota},
	995:                  {route.Unknown, "the operation was aborted on the machine", hintLost},
	1223:                 {route.Unknown, "the operation was cancelled on the machine", hintLost},
	5:                    {route.Denied, "access denied", hintDenied},
	2147942405:           {route.Denied, "access denied", hintDenied},
	2147942606:           {route.Refused, "the command line is too long", "this is a defect of fleetmend; please report it"},
	codeProfileUnloading: {route.Busy, "the user's profile is being unloaded", "the machine is closing an earlier logon of this account; the run tries again later"},
	2150858817:           {route.Refused, "the machine does not support the operation", "the machine's WinRM is too old or restricted; update the Windows Management Framework or use a medium"},
	2150859230:           {route.Unknown, "the output stream was disconnected", hintLost},
	2150859204:           {route.Unknown, "the shell was disconnected", hintLost},
	2150858770:           {route.Unreachable, "the machine cannot be reached by its own WinRM client", "this code comes from a Windows client library; is there a proxy between?"},
}

// faultError classifies a fault that answered op.
func faultError(target, op string, status int, f *fault) *route.Error {
	kind, known := faults[f.code]
	if !known {
		kind = faultKind{class: route.Unknown, what: "the machine reports a fault"}
		if op == opCreate || op == opAuthenticate {
			kind.class = route.Refused
		}
	}
	text := kind.what
	if f.code != 0 {
		text += fmt.Sprintf(" (fault %d)", f.code)
	}
	if f.text != "" {
		text += ": " + f.text
	}
	return &route.Error{
		Class: faultClass(op, f.code, kind.class), Op: op, Target: target, Code: f.code, Status: status,
		Err: hint.Wrap(errors.New(text), kind.hint),
	}
}

// faultClass fits a code's class to the moment. A fault is the machine's own word that it did not do what was asked:
// without a shell or a command nothing ran, and a refused Send means that the command got no input and so did nothing.
// Once the input was taken, only the machine's record can tell.
func faultClass(op string, code uint32, class route.Class) route.Class {
	switch op {
	case opCreate, opAuthenticate, opConnect, opIdentify:
		if class == route.Unknown {
			return route.Unreachable
		}
		return class
	case opCommand:
		if code == 2150858843 {
			return route.Unreachable // the shell is gone, so the command never was
		}
		return class
	case opSend:
		return class
	default:
		return route.Unknown
	}
}

// statusError classifies an HTTP answer without SOAP. Such an answer is not sealed, so after a request that may have
// reached the machine its word is not taken for granted.
func statusError(target, op string, a *answer) *route.Error {
	status := a.status
	e := &route.Error{Op: op, Target: target, Status: status, Class: route.Refused}
	text, advice := fmt.Sprintf("the machine answered with HTTP status %d", status), ""
	switch {
	case status == http.StatusUnauthorized:
		e.Class = route.Auth
		text = "the machine rejected the credentials"
		advice = "check user, domain and password (DOMAIN\\user or user@domain); nothing more is sent with these credentials in this run, so that no account is locked"
		if offered := schemes(a.challenges); len(offered) > 0 && op != opAuthenticate {
			advice += "; the machine offers " + strings.Join(offered, ", ")
		}
	case status == http.StatusForbidden:
		e.Class = route.Denied
		text, advice = "the machine forbids access (HTTP 403)", hintDenied
	case status == http.StatusServiceUnavailable:
		e.Class = route.Busy
		text, advice = "the machine's WinRM service is not running or starting (HTTP 503)", "the run tries again later; check the service WinRM on the machine"
	case status == http.StatusNotFound:
		text, advice = "no WinRM under this path (HTTP 404)", "check address, port and path; WinRM listens on 5985 (http) or 5986 (https) under /wsman"
	case status == http.StatusRequestEntityTooLarge: // nothing of ours is so large: it was cut or put together on the way
		e.Class = route.Busy
		text, advice = "the machine takes the request for too large (HTTP 413)", "the run tries again; is no proxy between?"
	case status == http.StatusBadRequest: // so is a request that did not arrive whole
		e.Class = route.Busy
		text, advice = "the machine takes the request for malformed (HTTP 400)", "the run tries again; is the port's scheme (http or https) right, and is no proxy between?"
		if bytes.Contains(a.body, []byte("to an HTTPS server")) {
			e.Class, text, advice = route.Refused, errTLSPort.Error(), hintHTTPS
		}
	case status >= 300 && status < 400:
		advice = "something other than WinRM listens there; redirections are never followed"
	}
	refusal := status >= 400 && status < 500 || status == http.StatusServiceUnavailable
	if op == opSend || op == opReceive || op == opCommand && !refusal {
		e.Class = route.Unknown
	}
	e.Err = hint.Wrap(errors.New(text), advice)
	return e
}

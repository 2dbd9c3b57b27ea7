// Package network says in words for people why another computer could not be talked to: what package net, the system and package tls say
// names system calls, says one thing twice, and is different on each system.
//
// [Plain] gives a network error such words and is the error that it was; [Refused] and [Late] tell the two kinds on which something else
// follows. The package sends nothing, and gives no advice: that is for whoever knows what was wanted there.
package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// plain is a network error in words.
type plain struct {
	text  string
	cause error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.cause }

// Plain is err with words for people in the place of those of the system, where it is an error of a network; any other one, and nil, as
// it is. Peer is who was to be talked to, such as "ws1:5985"; empty: as err has it.
func Plain(peer string, err error) error {
	if err == nil || errors.As(err, new(*plain)) {
		return err
	}
	op, _ := errors.AsType[*net.OpError](err)
	switch {
	case peer != "":
	case op != nil && op.Addr != nil:
		peer = op.Addr.String()
	default:
		peer = "the other side"
	}
	if text := words(peer, err); text != "" {
		return &plain{text, err}
	}
	if op != nil {
		return &plain{fmt.Sprintf("the connection to %s failed (%v)", peer, bare(op)), err}
	}
	return err
}

func words(peer string, err error) string {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns != nil:
		return fmt.Sprintf("the name %q cannot be resolved: %s", dns.Name, unresolved(dns))
	case Refused(err):
		return peer + " refuses the connection"
	case is(err, noRoute):
		return "no route leads to " + peer
	case is(err, broken):
		return peer + " broke the connection"
	case Late(err):
		return peer + " did not answer in time"
	}
	if text := ofTLS(peer, err); text != "" {
		return text
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return peer + " closed the connection"
	}
	return ""
}

func unresolved(e *net.DNSError) string {
	server := "the name server"
	if e.Server != "" {
		server += " " + e.Server
	}
	switch {
	case e.IsNotFound:
		return "no name server knows it"
	case e.IsTimeout:
		return server + " did not answer in time"
	}
	return fmt.Sprintf("%s failed (%s)", server, bareText(e.Err))
}

func ofTLS(peer string, err error) string {
	var (
		record  tls.RecordHeaderError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &record):
		return peer + " does not speak TLS"
	case errors.As(err, &unknown):
		if unknown.Cert == nil {
			return fmt.Sprintf("the certificate of %s was issued by somebody whom this computer does not trust", peer)
		}
		return fmt.Sprintf("the certificate of %s was issued by %q, which this computer does not trust", peer, unknown.Cert.Issuer)
	case errors.As(err, &host):
		return fmt.Sprintf("the certificate of %s is for another name, not for %s", peer, host.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired or is not valid yet", peer)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid", peer)
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		_, what, _ := strings.Cut(err.Error(), "tls: ")
		return fmt.Sprintf("%s refuses our TLS (%s)", peer, what)
	}
	return ""
}

// Refused reports whether nobody listens at the port.
func Refused(err error) bool { return is(err, refused) }

// Late reports whether an answer did not come in time.
func Late(err error) bool {
	late, ok := errors.AsType[net.Error](err)
	return ok && late.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || is(err, tooLate)
}

// What systems say, each with the number that Windows has for it (winsock2.h), which package syscall does not know by the name of POSIX.
var (
	refused = []syscall.Errno{syscall.ECONNREFUSED, 10061}
	noRoute = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, 10065, 10051}
	broken  = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, 10054, 10053}
	tooLate = []syscall.Errno{syscall.ETIMEDOUT, 10060}
)

func is(err error, numbers []syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}

// bare is the cause of an operation without the name of the system call.
func bare(op *net.OpError) error {
	if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		return call.Err
	}
	return op.Err
}

// bareText is what a resolver says, without who was asked for what.
func bareText(text string) string {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

package directory

import (
	"bufio"
	"crypto/tls"
)

const (
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
	oidWhoAmI   = "1.3.6.1.4.1.4203.1.11.3"

	oidPaged        = "1.2.840.113556.1.4.319"
	oidShowDeleted  = "1.2.840.113556.1.4.417"
	oidShowRecycled = "1.2.840.113556.1.4.2064"
	oidDomainScope  = "1.2.840.113556.1.4.1339"
	oidManageDSAIT  = "2.16.840.1.113730.3.4.2"
	oidSDFlags      = "1.2.840.113556.1.4.801"
)

// readOnly are the operations that the simulated directory refuses, with the tag of their answers.
var readOnly = map[byte]byte{opModifyRequest: 0x67, opAddRequest: 0x69, opDeleteRequest: 0x6b, opRenameRequest: 0x6d, opCompareRequest: 0x6f}

// handle answers one request; false ends the connection.
func (x *session) handle(m message) bool {
	switch m.op.tag {
	case opUnbindRequest:
		return false
	case opAbandonRequest:
		return true // every request is answered before the next is read
	case opBindRequest:
		r := x.bind(m.op.data)
		x.server.count(func(s *Stats) {
			s.Binds++
			if r.code != resultSuccess {
				s.FailedBinds++
			}
		})
		x.reply(m.id, opBindResponse, r)
		return r.code != resultProtocolError
	case opSearchRequest:
		return x.searchFor(m)
	case opExtendedRequest:
		return x.extended(m)
	}
	if tag, ok := readOnly[m.op.tag]; ok {
		x.reply(m.id, tag, result{code: resultInsufficientRights, text: "00002098: SecErr: DSID-03150F94, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n"})
		return true
	}
	x.disconnect(errBER)
	return false
}

// bind answers a BindRequest. A password that comes in clear is refused, right or wrong.
func (x *session) bind(b []byte) result {
	x.account = nil
	parts, err := children(b, 3)
	if err != nil || len(parts) != 3 || parts[0].tag != tagInteger || parts[1].tag != tagOctets {
		return result{code: resultProtocolError, text: "malformed bind request"}
	}
	if v, err := parts[0].integer(); err != nil || v != 3 {
		return result{code: resultProtocolError, text: "only LDAP version 3 is served"}
	}
	name, credentials := string(parts[1].data), parts[2]
	switch credentials.tag {
	case tagSASL:
		return x.bindSASL(credentials.data)
	case tagSimple:
	default:
		return result{code: resultAuthNotSupported, text: "00002027: LdapErr: DSID-0C090597, comment: Invalid Authentication method, data 0, v4f7c"}
	}
	if len(credentials.data) == 0 {
		if name == "" {
			return result{} // anonymous: the root may be read
		}
		return result{code: resultUnwillingToPerform, text: "a name without a password is no sign-in (RFC 4513 section 5.1.2)"}
	}
	if x.secure == nil {
		x.server.count(func(s *Stats) { s.ClearBinds++ })
		return result{code: resultStrongAuthRequired, text: "00002028: LdapErr: DSID-0C0903CC, comment: The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection, data 0, v4f7c"}
	}
	account, r := x.server.logon(name, string(credentials.data))
	x.account = account
	return r
}

// bindSASL knows EXTERNAL alone: the client certificate of the TLS connection.
func (x *session) bindSASL(b []byte) result {
	parts, err := children(b, 2)
	if err != nil || len(parts) == 0 || parts[0].tag != tagOctets {
		return result{code: resultProtocolError, text: "malformed SASL credentials"}
	}
	mapped := x.server.config.Mapped
	if string(parts[0].data) != "EXTERNAL" || mapped == nil {
		return result{code: resultAuthNotSupported, text: "00002027: LdapErr: DSID-0C090597, comment: Invalid Authentication method, data 0, v4f7c"}
	}
	if x.secure == nil || len(x.secure.ConnectionState().PeerCertificates) == 0 {
		return badCredentials("57")
	}
	user := mapped(x.secure.ConnectionState().PeerCertificates[0])
	for i := range x.server.config.Accounts {
		if a := &x.server.config.Accounts[i]; user != "" && a.User == user {
			x.account = a
			return result{}
		}
	}
	return badCredentials("52e")
}

func (x *session) extended(m message) bool {
	parts, err := children(m.op.data, 2)
	if err != nil || len(parts) == 0 || parts[0].tag != tagExtendedName {
		x.disconnect(errBER)
		return false
	}
	switch string(parts[0].data) {
	case oidStartTLS:
		return x.startTLS(m.id)
	case oidWhoAmI:
		who := ""
		if x.account != nil {
			who = "u:" + x.server.config.NetBIOS + `\` + x.account.User
		}
		b := appendOctets(result{}.encode(), tagExtendedRespVal, who)
		x.send(m.id, wrap(opExtendedResponse, b), nil)
		return true
	}
	x.reply(m.id, opExtendedResponse, result{code: resultProtocolError, text: "0000203D: LdapErr: DSID-0C091318, comment: Unknown extended request OID, data 0, v4f7c"})
	return true
}

// startTLS changes over to TLS. What the client sent behind the request in clear is a reason to end the connection.
func (x *session) startTLS(id int) bool {
	if x.secure != nil || x.in.Buffered() > 0 {
		x.reply(id, opExtendedResponse, result{code: resultOperationsError, text: "TLS is there already, or something came in clear behind the request"})
		_ = x.out.Flush()
		return false
	}
	b := appendOctets(result{}.encode(), tagExtendedRespName, oidStartTLS)
	x.send(id, wrap(opExtendedResponse, b), nil)
	if x.out.Flush() != nil {
		return false
	}
	x.secure = tls.Server(x.conn, x.server.tls)
	x.conn = x.secure
	x.account = nil
	x.in, x.out = bufio.NewReaderSize(x.conn, 4<<10), bufio.NewWriterSize(x.conn, 32<<10)
	return true
}

func (x *session) searchFor(m message) bool {
	request, err := parseSearch(m.op.data)
	if err != nil {
		x.disconnect(err)
		return false
	}
	x.server.count(func(s *Stats) { s.Searches++ })
	q := query{searchRequest: request}
	for _, c := range m.controls {
		if r := q.apply(c); r.code != resultSuccess {
			x.reply(m.id, opSearchDone, r)
			return true
		}
	}
	var a answer
	switch {
	case q.base == "" && q.scope == scopeBase:
		a = x.server.root(&q)
	case x.account == nil:
		a.result = result{code: resultOperationsError, text: "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, v4f7c"}
	default:
		q.rights = x.account.Rights
		a = x.server.config.Tree.search(&q)
	}
	x.server.count(func(s *Stats) { s.Entries += len(a.ops) })
	for _, op := range a.ops {
		x.send(m.id, op, nil)
	}
	var controls []byte
	if q.paged {
		value := wrap(tagSequence, appendOctets(appendInteger(nil, tagInteger, 0), tagOctets, a.cookie))
		one := appendOctets(appendOctets(nil, tagOctets, oidPaged), tagOctets, value)
		controls = wrap(tagControls, wrap(tagSequence, one))
	}
	x.send(m.id, wrap(opSearchDone, a.result.encode()), controls)
	return true
}

// apply takes a control into the query.
func (q *query) apply(c control) result {
	switch c.oid {
	case oidPaged:
		outer, rest, err := next(c.value)
		if err != nil || len(rest) > 0 || outer.tag != tagSequence {
			return result{code: resultProtocolError, text: "malformed paging control"}
		}
		parts, err := children(outer.data, 2)
		if err != nil || len(parts) != 2 || parts[0].tag != tagInteger || parts[1].tag != tagOctets {
			return result{code: resultProtocolError, text: "malformed paging control"}
		}
		if q.pageSize, err = parts[0].integer(); err != nil || q.pageSize < 0 {
			return result{code: resultProtocolError, text: "malformed paging control"}
		}
		q.paged, q.cookie = true, parts[1].data
	case oidShowDeleted, oidShowRecycled:
		q.showDeleted = true
	case oidDomainScope:
		q.noReferrals = true
	case oidManageDSAIT, oidSDFlags: // nothing here depends on them
	default:
		if c.critical {
			return result{code: resultCriticalExtension, text: "00000057: LdapErr: DSID-0C0907C3, comment: Error processing control, data 0, v4f7c"}
		}
	}
	return result{}
}

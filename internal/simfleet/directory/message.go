package directory

import "fmt"

// The operations of LDAP (RFC 4511 section 4), by the tag of the protocolOp.
const (
	opBindRequest       = 0x60
	opBindResponse      = 0x61
	opUnbindRequest     = 0x42
	opSearchRequest     = 0x63
	opSearchEntry       = 0x64
	opSearchDone        = 0x65
	opSearchReference   = 0x73
	opModifyRequest     = 0x66
	opAddRequest        = 0x68
	opDeleteRequest     = 0x4a
	opRenameRequest     = 0x6c
	opCompareRequest    = 0x6e
	opAbandonRequest    = 0x50
	opExtendedRequest   = 0x77
	opExtendedResponse  = 0x78
	tagControls         = 0xa0
	tagReferral         = 0xa3
	tagSimple           = 0x80
	tagSASL             = 0xa3
	tagExtendedName     = 0x80
	tagExtendedRespName = 0x8a
	tagExtendedRespVal  = 0x8b
)

// Result codes (RFC 4511 section 4.1.9).
const (
	resultSuccess             = 0
	resultOperationsError     = 1
	resultProtocolError       = 2
	resultSizeLimitExceeded   = 4
	resultAuthNotSupported    = 7
	resultStrongAuthRequired  = 8
	resultReferral            = 10
	resultCriticalExtension   = 12
	resultNoSuchObject        = 32
	resultInvalidDNSyntax     = 34
	resultInvalidCredentials  = 49
	resultInsufficientRights  = 50
	resultBusy                = 51
	resultUnwillingToPerform  = 53
	resultUnavailable         = 52
	resultInappropriateMethod = 48
)

// result is an LDAPResult.
type result struct {
	code      int
	matched   string
	text      string
	referrals []string
}

func (r result) encode() []byte {
	b := appendInteger(nil, tagEnumerated, r.code)
	b = appendOctets(b, tagOctets, r.matched)
	b = appendOctets(b, tagOctets, r.text)
	if len(r.referrals) > 0 {
		var urls []byte
		for _, u := range r.referrals {
			urls = appendOctets(urls, tagOctets, u)
		}
		b = append(b, wrap(tagReferral, urls)...)
	}
	return b
}

// message is a request.
type message struct {
	id       int
	op       element
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte
}

// parseMessage reads the contents of an LDAPMessage.
func parseMessage(body []byte) (message, error) {
	parts, err := children(body, 3)
	if err != nil {
		return message{}, err
	}
	if len(parts) < 2 || parts[0].tag != tagInteger {
		return message{}, fmt.Errorf("%w: no message", errBER)
	}
	m := message{op: parts[1]}
	if m.id, err = parts[0].integer(); err != nil || m.id < 0 {
		return message{}, fmt.Errorf("%w: message ID", errBER)
	}
	if len(parts) == 3 {
		if parts[2].tag != tagControls {
			return message{}, fmt.Errorf("%w: unexpected tag %#x", errBER, parts[2].tag)
		}
		if m.controls, err = parseControls(parts[2].data); err != nil {
			return message{}, err
		}
	}
	return m, nil
}

func parseControls(b []byte) ([]control, error) {
	list, err := children(b, 32)
	if err != nil {
		return nil, err
	}
	out := make([]control, 0, len(list))
	for _, e := range list {
		parts, err := children(e.data, 3)
		if err != nil || e.tag != tagSequence || len(parts) == 0 || parts[0].tag != tagOctets {
			return nil, fmt.Errorf("%w: control", errBER)
		}
		c := control{oid: string(parts[0].data)}
		for _, p := range parts[1:] {
			switch p.tag {
			case tagBoolean:
				c.critical = p.boolean()
			case tagOctets:
				c.value = p.data
			default:
				return nil, fmt.Errorf("%w: control", errBER)
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// The scopes of a search.
const (
	scopeBase = iota
	scopeOne
	scopeSubtree
)

// searchRequest is a SearchRequest as it was sent.
type searchRequest struct {
	base       string
	scope      int
	sizeLimit  int
	typesOnly  bool
	filter     node
	rawFilter  []byte
	attributes []string
}

const maxAttributes = 500

func parseSearch(b []byte) (searchRequest, error) {
	parts, err := children(b, 8)
	if err != nil {
		return searchRequest{}, err
	}
	wanted := []byte{tagOctets, tagEnumerated, tagEnumerated, tagInteger, tagInteger, tagBoolean, 0, tagSequence}
	if len(parts) != len(wanted) {
		return searchRequest{}, fmt.Errorf("%w: search request", errBER)
	}
	for i, tag := range wanted {
		if tag != 0 && parts[i].tag != tag {
			return searchRequest{}, fmt.Errorf("%w: search request", errBER)
		}
	}
	s := searchRequest{base: string(parts[0].data), typesOnly: parts[5].boolean()}
	if s.scope, err = parts[1].integer(); err != nil || s.scope < scopeBase || s.scope > scopeSubtree {
		return searchRequest{}, fmt.Errorf("%w: scope", errBER)
	}
	if s.sizeLimit, err = parts[3].integer(); err != nil || s.sizeLimit < 0 {
		return searchRequest{}, fmt.Errorf("%w: size limit", errBER)
	}
	if s.filter, err = parseFilter(parts[6], 0); err != nil {
		return searchRequest{}, err
	}
	s.rawFilter = parts[6].data
	attributes, err := children(parts[7].data, maxAttributes)
	if err != nil {
		return searchRequest{}, err
	}
	for _, a := range attributes {
		if a.tag != tagOctets {
			return searchRequest{}, fmt.Errorf("%w: attribute", errBER)
		}
		s.attributes = append(s.attributes, string(a.data))
	}
	return s, nil
}

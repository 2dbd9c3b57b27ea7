package directory

import (
	"strconv"
	"strings"
	"time"
)

// root answers a search for the root of the server (MS-ADTS section 3.1.1.3.2).
func (s *Server) root(q *query) answer {
	t := s.config.Tree
	t.mu.RLock()
	usn := t.usn
	t.mu.RUnlock()
	attributes := []Attribute{
		Attr("currentTime", Time(time.Now().Add(s.config.Skew))),
		Attr("defaultNamingContext", t.domain),
		Attr("rootDomainNamingContext", t.domain),
		Attr("configurationNamingContext", t.configuration()),
		Attr("schemaNamingContext", t.schemaDN()),
		Attr("namingContexts", t.domain, t.configuration(), t.schemaDN(), "DC=DomainDnsZones,"+t.domain, "DC=ForestDnsZones,"+t.domain),
		Attr("dnsHostName", s.config.HostName), Attr("dsServiceName", t.SettingsDN(s.config.HostName, s.config.Site)),
		Attr("ldapServiceName", t.dns+":"+s.config.HostName),
		Attr("isGlobalCatalogReady", "TRUE"),
		Attr("isSynchronized", "TRUE"),
		Attr("highestCommittedUSN", strconv.FormatInt(usn, 10)),
		Attr("supportedLDAPVersion", "3", "2"),
		Attr("supportedControl", oidPaged, oidShowDeleted, oidShowRecycled, oidDomainScope, oidSDFlags),
		Attr("supportedExtension", oidStartTLS, oidWhoAmI),
		Attr("supportedCapabilities", "1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670", "1.2.840.113556.1.4.1935"),
		Attr("domainFunctionality", "7"), Attr("forestFunctionality", "7"), Attr("domainControllerFunctionality", "7"),
	}
	if s.config.Mapped != nil {
		attributes = append(attributes, Attr("supportedSASLMechanisms", "EXTERNAL"))
	}
	wanted := map[string]bool{}
	for _, name := range q.attributes {
		wanted[strings.ToLower(name)] = true
	}
	var set []byte
	for _, a := range attributes {
		if len(wanted) > 0 && !wanted["*"] && !wanted["+"] && !wanted[strings.ToLower(a.Name)] {
			continue
		}
		var values []byte
		for _, v := range a.Values {
			if !q.typesOnly {
				values = appendOctets(values, tagOctets, v)
			}
		}
		set = appendAttribute(set, a.Name, values)
	}
	if q.filter.op != filterPresent || strings.ToLower(q.filter.attr) != "objectclass" {
		return answer{} // AD answers nothing else here either
	}
	return answer{ops: [][]byte{wrap(opSearchEntry, append(appendOctets(nil, tagOctets, ""), wrap(tagSequence, set)...))}}
}

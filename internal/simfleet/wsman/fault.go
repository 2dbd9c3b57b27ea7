package wsman

import (
	"fmt"
	"strconv"
	"strings"
)

// The fault codes of wsmerror.h and winerror.h that this service answers with.
const (
	CodeAccessDenied         = 5
	CodeAborted              = 995
	CodeInvalidAction        = 2150858753
	CodeInvalidHeader        = 2150858767
	CodeEnvelopeTooLarge     = 2150858790
	CodeInvalidBody          = 2150858791
	CodeTimedOut             = 2150858793
	CodeInvalidResource      = 2150858811
	CodeQuotaLimit           = 2150858815
	CodeSchema               = 2150858817
	CodeInvalidXML           = 2150858819
	CodeUnexpectedSelectors  = 2150858843
	CodeInvalidCommand       = 2150859085
	CodeInvalidInputStream   = 2150859147
	CodeQuotaMaxShells       = 2150859173
	CodeQuotaMaxOperations   = 2150859174
	CodeQuotaSystem          = 2150859176
	CodeCommandLineTooLong   = 2147942606
	CodeMarkedForDeletion    = 2147943418
	CodePipeClosing          = 232
	CodeInvalidOperationTime = 2150858881
)

// Fault is a SOAP fault with its WSManFault code.
type Fault struct {
	Code    uint32
	Value   string // s:Sender or s:Receiver
	Subcode string // w:TimedOut
	Reason  string
}

// Error gives code and reason.
func (f *Fault) Error() string { return fmt.Sprintf("fault %d: %s", f.Code, f.Reason) }

type faultText struct{ value, subcode, reason string }

var faultTexts = map[uint32]faultText{
	CodeAccessDenied:         {"s:Sender", "w:AccessDenied", "Access is denied. "},
	CodePipeClosing:          {"s:Receiver", "w:InternalError", "The pipe is being closed. "},
	CodeAborted:              {"s:Receiver", "w:InternalError", "The I/O operation has been aborted because of either a thread exit or an application request. "},
	CodeInvalidAction:        {"s:Sender", "a:ActionNotSupported", "The WS-Management service cannot process the request. The WS-Addressing action URI is invalid. "},
	CodeInvalidHeader:        {"s:Sender", "a:InvalidMessageInformationHeader", "The WS-Management service cannot process the request. A WS-Addressing header has a value that is not valid. "},
	CodeEnvelopeTooLarge:     {"s:Sender", "w:EncodingLimit", "The WS-Management service cannot process the request because the request envelope is larger than the configured limit. "},
	CodeInvalidBody:          {"s:Sender", "w:SchemaValidationError", "The WS-Management service cannot process the request because the SOAP body is not valid. "},
	CodeTimedOut:             {"s:Receiver", "w:TimedOut", "The WS-Management service cannot complete the operation within the time specified in OperationTimeout. "},
	CodeInvalidResource:      {"s:Sender", "a:DestinationUnreachable", "The WS-Management service cannot process the request. The resource URI is missing or it has an incorrect format. "},
	CodeQuotaLimit:           {"s:Sender", "w:QuotaLimit", "The WS-Management service cannot process the request. The service is configured to not accept any more requests now. "},
	CodeSchema:               {"s:Sender", "w:SchemaValidationError", "The SOAP XML in the message does not match the corresponding XML schema definition. "},
	CodeInvalidXML:           {"s:Sender", "w:SchemaValidationError", "The WS-Management service cannot process the request. The XML is not valid. "},
	CodeUnexpectedSelectors:  {"s:Sender", "w:InvalidSelectors", "The WS-Management service cannot process the request because the request contained invalid selectors for the resource. "},
	CodeInvalidCommand:       {"s:Sender", "w:InvalidParameter", "The WinRM client or service cannot use an invalid command handle. "},
	CodeInvalidInputStream:   {"s:Sender", "w:InvalidParameter", "The Windows Remote Shell received a request to perform an operation on a stream that is not open for input. "},
	CodeQuotaMaxShells:       {"s:Sender", "w:QuotaLimit", "The WS-Management service cannot process the request. The maximum number of concurrent shells for this user has been exceeded. "},
	CodeQuotaMaxOperations:   {"s:Sender", "w:QuotaLimit", "The WS-Management service cannot process the request. The maximum number of concurrent operations for this user has been exceeded. "},
	CodeQuotaSystem:          {"s:Sender", "w:QuotaLimit", "The WS-Management service cannot process the request. The system load quota has been exceeded. "},
	CodeCommandLineTooLong:   {"s:Receiver", "w:InternalError", "The filename or extension is too long. "},
	CodeMarkedForDeletion:    {"s:Receiver", "w:InternalError", "Illegal operation attempted on a registry key that has been marked for deletion. "},
	CodeInvalidOperationTime: {"s:Sender", "w:InvalidTimeout", "The WS-Management service cannot process the request. The OperationTimeout is not valid. "},
}

// NewFault returns the fault of a code with the text that belongs to it; a code without one gets a general text.
func NewFault(code uint32) *Fault {
	text, ok := faultTexts[code]
	if !ok {
		text = faultText{"s:Receiver", "w:InternalError", "The WS-Management service cannot process the request. "}
	}
	return &Fault{Code: code, Value: text.value, Subcode: text.subcode, Reason: text.reason}
}

func (f *Fault) body(machine string) string {
	var b strings.Builder
	b.WriteString(`<s:Fault><s:Code><s:Value>` + f.Value + `</s:Value><s:Subcode><s:Value>` + f.Subcode +
		`</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">` + escape(f.Reason) + `</s:Text></s:Reason><s:Detail>` +
		`<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="` + strconv.FormatUint(uint64(f.Code), 10) +
		`" Machine="` + escape(machine) + `"><f:Message>` + escape(f.Reason) + `</f:Message></f:WSManFault></s:Detail></s:Fault>`)
	return b.String()
}

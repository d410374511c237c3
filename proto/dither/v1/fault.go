package ditherv1

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is a gRPC error that carries what happened, where, and what to do: as a sentence for people, and as details (ErrorInfo, domain
// "dither", metadata what, where, todo) for programs.
func Fault(code codes.Code, what, where, todo string) error {
	msg := what
	if where != "" {
		msg = where + ": " + msg
	}
	if todo != "" {
		msg += "; " + todo
	}
	st := status.New(code, msg)
	with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: code.String(), Domain: "dither", Metadata: map[string]string{"what": what, "where": where, "todo": todo}})
	if err != nil {
		return st.Err()
	}
	return with.Err()
}

// Message is the sentence of an error that may have come over gRPC, without the transport's wrapping.
func Message(err error) string {
	if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
		return st.Message()
	}
	return err.Error()
}

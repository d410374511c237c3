package coordinator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const piece = 1 << 20 // bytes of a file in one message

// fileNames are the kinds of files for people, and what to do where one is absent.
var fileNames = map[ditherv1.FileKind]struct{ name, todo string }{
	ditherv1.FileKind_FILE_KIND_TEACHER:    {"teacher", "give one with --teacher FILE"},
	ditherv1.FileKind_FILE_KIND_INIT:       {"start", "give one with --init FILE"},
	ditherv1.FileKind_FILE_KIND_CHECKPOINT: {"checkpoint", "begin from the spec's start"},
}

// GetFile implements CoordinatorService.
func (s *service) GetFile(m *ditherv1.GetFileRequest, stream grpc.ServerStreamingServer[ditherv1.GetFileResponse]) error {
	kind, ok := fileNames[m.GetKind()]
	if !ok {
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("no kind of file is called %v", m.GetKind()), "GetFile", "ask for the teacher, the start or the checkpoint")
	}
	path := s.c.config.Files[m.GetKind()]
	if k, ok := s.c.store.newest(); ok && path == "" && m.GetKind() == ditherv1.FileKind_FILE_KIND_CHECKPOINT {
		path = s.c.store.path(k)
	}
	where := "run " + s.c.config.Run
	if path == "" {
		return ditherv1.Fault(codes.NotFound, "it has no "+kind.name+" file", where, kind.todo)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ditherv1.Fault(codes.NotFound, fmt.Sprintf("its %s file %s is gone", kind.name, path), where, "put it back or make the run anew")
	}
	if err != nil {
		return ditherv1.Fault(codes.Internal, fmt.Sprintf("its %s file cannot be read: %v", kind.name, err), where, "see to the file")
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return ditherv1.Fault(codes.Internal, fmt.Sprintf("its %s file cannot be read: %v", kind.name, err), where, "see to the file")
	}
	total := uint64(info.Size())
	for sent := uint64(0); ; {
		// A fresh buffer for each piece: gRPC may still hold the last one.
		data := make([]byte, min(piece, total-sent))
		if _, err := io.ReadFull(file, data); err != nil {
			return ditherv1.Fault(codes.DataLoss, fmt.Sprintf("its %s file %s cannot be read: %v", kind.name, path, err), where, "see to the file, which must not change while the run goes on")
		}
		if err := stream.Send(&ditherv1.GetFileResponse{TotalBytes: total, Data: data}); err != nil {
			return err
		}
		if sent += uint64(len(data)); sent == total {
			return nil
		}
	}
}

// PutCheckpoint implements CoordinatorService.
func (s *service) PutCheckpoint(stream grpc.ClientStreamingServer[ditherv1.PutCheckpointRequest, ditherv1.PutCheckpointResponse]) error {
	head, err := stream.Recv()
	if err != nil {
		return noPiece(err)
	}
	k := head.GetIteration()
	if err := s.accepts(head); err != nil {
		return err
	}
	in, err := s.c.store.begin(head)
	if err != nil {
		return err
	}
	defer in.abort()
	for m := head; ; {
		if err := in.write(m.GetData()); err != nil {
			return err
		}
		if m, err = stream.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if err := in.commit(); err != nil {
		s.c.log.Error("a checkpoint was not taken", "iteration", k, "error", ditherv1.Message(err))
		return err
	}
	if in.fresh {
		s.c.log.Info("checkpoint", "iteration", k, "path", relative(k), "bytes", head.GetTotalBytes())
		s.c.mu.Lock()
		s.c.keep(s.c.record.checkpoint(k))
		s.c.mu.Unlock()
	}
	return stream.SendAndClose(&ditherv1.PutCheckpointResponse{Path: relative(k)})
}

func noPiece(err error) error {
	if err == io.EOF {
		return ditherv1.Fault(codes.InvalidArgument, "no piece came", "checkpoint", "send the header and the bytes")
	}
	return err
}

// accepts refuses a checkpoint of another run.
func (s *service) accepts(head *ditherv1.PutCheckpointRequest) error {
	where := fmt.Sprintf("checkpoint after iteration %d", head.GetIteration())
	spec := s.c.config.Spec
	switch {
	case head.GetSpecSha256() != s.c.config.SpecSHA256:
		return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("it belongs to the spec %.12s and this run has %.12s", head.GetSpecSha256(), s.c.config.SpecSHA256), where, "send it to its own coordinator")
	case head.GetIteration() > spec.GetIterations():
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("the run has %d iterations", spec.GetIterations()), where, "send one of this run")
	case head.GetTotalBytes() == 0 || len(head.GetFileSha256()) != 64:
		return ditherv1.Fault(codes.InvalidArgument, "its first piece must have the file's size and sha256", where, "fill in the header")
	}
	return nil
}

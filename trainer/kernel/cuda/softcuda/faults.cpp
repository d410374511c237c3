// A kernel that touches a forbidden page faults. The fault is put into words, and the launch ends; the process goes on. Faults outside
// a kernel go to whoever caught them before (Go's runtime makes panics of them).
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "fibre.h"
#include "launch.h"
#include "memory.h"

namespace softcuda {

namespace {
constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction previous[sizeof signals / sizeof *signals];
pthread_t launching_thread;

std::string put_into_words(int signal, uintptr_t address) {
	if (signal == SIGFPE) return "integer division by zero";
	if (overflows_stack(address)) return "its local arrays are larger than the " + std::to_string(fibre_stack_bytes) + " bytes of stack that a thread has";
	return "touches " + describe(address);
}

void caught(int signal, siginfo_t *info, void *context) {
	if (launching && running_fibre() && pthread_equal(pthread_self(), launching_thread))
		abandon(Outcome::bad_address, put_into_words(signal, reinterpret_cast<uintptr_t>(info->si_addr)));
	int i = 0;
	while (signals[i] != signal) i++;
	const struct sigaction &before = previous[i];
	if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
	sigaction(signal, &before, nullptr);  // comes again, and ends the process
}
}  // namespace

void catch_faults() {
	launching_thread = pthread_self();
	// A fault by a full stack needs another to be told on. Go gives its threads one.
	stack_t stack;
	if (sigaltstack(nullptr, &stack) == 0 && stack.ss_flags & SS_DISABLE) {
		constexpr size_t bytes = 64 << 10;
		static thread_local void *own = std::malloc(bytes);
		stack = {own, 0, bytes};
		sigaltstack(&stack, nullptr);
	}
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		struct sigaction now;
		sigaction(signals[i], nullptr, &now);
		if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == caught) continue;
		previous[i] = now;
		// The handler does not return from a kernel's fault, so the signal must not stay blocked.
		now.sa_sigaction = caught;
		now.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
		sigemptyset(&now.sa_mask);
		sigaction(signals[i], &now, nullptr);
	}
}

}  // namespace softcuda

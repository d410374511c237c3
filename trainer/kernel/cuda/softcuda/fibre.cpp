#include "fibre.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#if !defined(__x86_64__) && !defined(SOFTCUDA_UCONTEXT)
#define SOFTCUDA_UCONTEXT
#endif
#ifdef SOFTCUDA_UCONTEXT
#include <ucontext.h>
#endif

namespace softcuda {

struct Fibre {
#ifdef SOFTCUDA_UCONTEXT
	ucontext_t context;
#else
	void *stack_pointer;
#endif
	char *stack;
	Fibre *next;  // among those that are free
};

namespace {
constexpr int guard_bytes = 4096;
Fibre *free_fibres;
Fibre *current;
Fibre home;  // the process's own stack

Fibre *new_fibre() {
	void *stack = mmap(nullptr, guard_bytes + fibre_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stack == MAP_FAILED || mprotect(stack, guard_bytes, PROT_NONE) != 0) {
		std::fprintf(stderr, "softcuda: no memory for the stack of a thread of a block\n");
		std::abort();
	}
	Fibre *fibre = new Fibre{};
	fibre->stack = static_cast<char *>(stack);
	return fibre;
}
}  // namespace

#ifdef SOFTCUDA_UCONTEXT

static void enter(Fibre *fibre, void (*body)()) {
	getcontext(&fibre->context);
	fibre->context.uc_stack.ss_sp = fibre->stack + guard_bytes;
	fibre->context.uc_stack.ss_size = fibre_stack_bytes;
	fibre->context.uc_link = nullptr;
	makecontext(&fibre->context, body, 0);
}
static void change(Fibre *from, Fibre *to) { swapcontext(&from->context, &to->context); }

#else

// swapcontext makes two system calls; a block of 256 threads changes stacks thousands of times.
asm(R"(
	.text
	.type softcuda_change, @function
softcuda_change:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size softcuda_change, .-softcuda_change
)");
extern "C" void softcuda_change(void **from, void *to) __attribute__((visibility("hidden")));

static void enter(Fibre *fibre, void (*body)()) {
	void **top = reinterpret_cast<void **>(fibre->stack + guard_bytes + fibre_stack_bytes);
	*--top = nullptr;  // body's return address, which leaves the stack aligned as a call does
	*--top = reinterpret_cast<void *>(body);
	for (int saved = 0; saved < 6; saved++) *--top = nullptr;
	fibre->stack_pointer = top;
}
static void change(Fibre *from, Fibre *to) { softcuda_change(&from->stack_pointer, to->stack_pointer); }

#endif

void resume(Fibre *fibre) {
	current = fibre;
	change(&home, fibre);
	current = nullptr;
}

void go_to(Fibre *fibre) {
	Fibre *from = current;
	current = fibre;
	change(from, fibre);
}

void leave() { change(current, &home); }

Fibre *take_fibre(void (*body)()) {
	Fibre *fibre = free_fibres;
	if (fibre)
		free_fibres = fibre->next;
	else
		fibre = new_fibre();
	enter(fibre, body);
	return fibre;
}

void give_fibre(Fibre *fibre) {
	fibre->next = free_fibres;
	free_fibres = fibre;
}

Fibre *running_fibre() { return current; }

bool overflows_stack(uintptr_t address) {
	if (!current) return false;
	const uintptr_t guard = reinterpret_cast<uintptr_t>(current->stack);
	return address >= guard && address < guard + guard_bytes;
}

}  // namespace softcuda

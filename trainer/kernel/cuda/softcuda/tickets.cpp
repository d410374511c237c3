// add_ticket and fence. In the checking mode a ticket orders what two blocks do, as CUDA's memory model has it: a block publishes by a ticket what one of its threads did before a fence, of its own or of the
// thread that took the ticket, that came before the ticket; who takes a later ticket of the same counter sees it behind another fence. Barriers carry both within a block. What a block has seen so it does not publish
// again for others.
#include <unordered_map>
#include <vector>

#include "launch.h"
#include "memory.h"
#include "races.h"

namespace softcuda {

namespace {
// A block's ticket, and what it publishes.
struct Ticket {
	Moment taken;
	std::vector<uint16_t> fences;  // that each thread had passed
	Moment fenced;                 // the taker's last one, if it had passed any
};

using Counter = std::unordered_map<uint64_t, std::vector<Ticket>>;  // by block

// That the running block has taken a ticket: a later one than all that another block has, for blocks run one behind the other.
struct Seen {
	const Counter *counter;
	Moment taken;
	bool fenced;  // by the taker, since
	Moment fence;
};

uint64_t counters_launch, seen_block;
std::unordered_map<uintptr_t, Counter> counters;  // of the launch
std::vector<Seen> seen;                           // by the running block

void forget_others() {
	if (counters_launch != launch.serial) counters.clear();
	counters_launch = launch.serial;
	if (seen_block != block_serial) seen.clear();
	seen_block = block_serial;
}

void order_by(uintptr_t address) {
	forget_others();
	Counter &counter = counters[address];
	const Thread &self = launch.thread[launch.now];
	Ticket ticket{moment(), {}, self.fenced};
	for (int i = 0; i < launch.threads; i++) ticket.fences.push_back(launch.thread[i].fences);
	seen.push_back({&counter, ticket.taken, false, {}});
	counter[launch.block].push_back(std::move(ticket));
}

bool publishes(const Ticket &ticket, const Access &a) {
	if (!before(a.at, ticket.taken)) return false;
	if (a.fences < ticket.fences[a.at.thread]) return true;
	return ticket.fences[ticket.taken.thread] > 0 && a.at.thread != ticket.taken.thread && before(a.at, ticket.fenced);
}

bool sees(const Seen &s, const Moment &now) {
	if (s.fenced && before(s.fence, now)) return true;
	const Thread &thread = launch.thread[now.thread];
	return now.thread != s.taken.thread && thread.fences > 0 && before(s.taken, thread.fenced);
}
}  // namespace

bool took_tickets() { return seen_block == block_serial && !seen.empty(); }

bool published(const Access &a, const Access &now) {
	if (!took_tickets()) return false;
	for (const Seen &s : seen) {
		if (!sees(s, now.at)) continue;
		const auto found = s.counter->find(a.block);
		if (found == s.counter->end()) continue;
		for (const Ticket &ticket : found->second)
			if (publishes(ticket, a)) return true;
	}
	return false;
}

int take_ticket(int *counter, const char *file, int line) {
	const uintptr_t at = reinterpret_cast<uintptr_t>(counter);
	if (at % 4 != 0 || !holding(at, 4)) abandon(Outcome::bad_address, std::string("add_ticket at ") + file + ":" + std::to_string(line) + " counts in device memory, and is given " + describe(at));
	if (checks().races) {
		touch(at, 4, Touch::counts);
		order_by(at);
	}
	return (*counter)++;
}

void pass_fence() {
	if (!checks().races) return;
	Thread &self = launch.thread[launch.now];
	self.fences++;
	self.fenced = moment();
	if (!took_tickets()) return;
	for (Seen &s : seen) {
		if (s.fenced || s.taken.thread != launch.now) continue;
		s.fenced = true;
		s.fence = self.fenced;
	}
}

}  // namespace softcuda

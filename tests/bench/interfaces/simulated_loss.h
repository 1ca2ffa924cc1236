// How soon loss is found, and how often where there is none.
#pragma once

namespace homeport {

/// `runs` of each case. Prints a JSON object, with the shares and times of one host that is told
/// nothing by the other, and of two that tell each other what they measure:
///   found  until loss of 2% in one direction is known, as more than a fifth of that
///   left   until interactive traffic takes another path that is as good otherwise
///   at_P   the path loses P of all packets all the time, as the other does: how often it is left,
///          or more than 0.4% beyond P is shown, and the bytes of asks and answers on the wire
void simulate_loss(int runs);

}  // namespace homeport

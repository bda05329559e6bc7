// What may be done with a call in which state, as the API has it.

const ALLOWED = {
  replay: ["review", "scheduled", "cancelled", "resolved"],
  resolve: ["scheduled", "review"],
  cancel: ["scheduled", "review"],
};

export const ACTIONS = Object.keys(ALLOWED);

export const allows = (action, status) => ALLOWED[action].includes(status);

/** Those of these states in which a call can be acted on at all. */
export const actionable = (statuses) => statuses.filter((status) => ACTIONS.some((action) => allows(action, status)));

/** What stands in the folder of a change (change.ts) while names change places, and after it was killed then; before and after it, all is whole. */
export const journalName = 'journal.json'

-- Which customer the present decision of a person led to. NULL: it is still to be carried out, or there is none. A contact that is
-- skipped is never carried, so its conflict never gets one.
ALTER TABLE conflict ADD COLUMN carried_to INTEGER;
-- The customer that it led away from, until the contact's stamp is off there.
ALTER TABLE conflict ADD COLUMN left_behind INTEGER;

-- Earlier versions read this from the link. What they did wrong by that stays open, and is done now: a link that an earlier
-- decision made is no create; one that a lost state found again may be.
UPDATE conflict SET carried_to = (
    SELECT l.target FROM link l
    WHERE l.livedesk_id = conflict.livedesk_id
        AND (conflict.decision = 'link' AND l.target = conflict.decision_target
            OR conflict.decision = 'create' AND conflict.kind = 'twins'
            OR conflict.decision = 'create' AND l.origin IN ('created', 'rebuilt')
                AND NOT EXISTS (SELECT 1 FROM json_each(conflict.candidates) WHERE value = l.target))
) WHERE decision IS NOT NULL;
